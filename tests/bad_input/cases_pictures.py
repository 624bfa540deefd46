"""tools/visualize.py, analyze_dataset.py, report.py: logs, checkpoints, images, options."""

import json
import shutil

import cv2
import numpy as np
import torch

from support.toys import ROOT

LINE = {'dynopool/stream1/scale_h': 0.5, 'dynopool/stream1/scale_w': 0.5, 'loss': 1.0, 'iter': 1,
        'step': 1}


def _log(bench, *lines, folder='run'):
    text = ''.join((line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines)
    return bench.write(f'{folder}/20260101_000000/vis_data/scalars.json', text)


def _shapes(bench, *args):
    seen = bench.tool('visualize', 'shapes', *args, '--out', 'out')
    assert not (bench.folder / 'out').exists()
    return seen


def shapes_nothing(bench):
    return _shapes(bench)


def shapes_work_dir_missing(bench):
    return _shapes(bench, 'lost')


def shapes_work_dir_empty(bench):
    (bench.folder / 'run').mkdir()
    return _shapes(bench, 'run')


def shapes_no_log(bench):
    bench.write('run/notes.txt', 'x')
    return _shapes(bench, 'run')


def shapes_log_of_another_project(bench):
    _log(bench, dict(bbox_mAP=0.5, loss=1.0, iter=1, step=1))
    return _shapes(bench, 'run')


def shapes_no_log_lines(bench):
    _log(bench, 'Epoch 1: loss 0.3', LINE)
    return _shapes(bench, 'run')


def shapes_image_for_a_log(bench):
    return _shapes(bench, bench.project.images[0])


def shapes_too_many_runs(bench):
    for k in range(9):
        _log(bench, LINE, folder=f'run{k}')
    return _shapes(bench, *(f'run{k}' for k in range(9)))


def shapes_checkpoint_alone(bench):
    return _shapes(bench, '--checkpoint', bench.project.checkpoint)


def shapes_of_a_stock_network(bench):
    return _shapes(bench, '--config', bench.project.folder / 'my_hrnet_config.py')


def shapes_out_gif(bench):
    _log(bench, LINE)
    return bench.tool('visualize', 'shapes', 'run', '--out', 'out.gif')


def shapes_log_cut_off(bench):
    _log(bench, LINE, '{"dynopool/stre')
    return bench.tool('visualize', 'shapes', 'run', '--out', 'out', ok=True)


def _aggregation(bench, *args, out='out.png'):
    seen = bench.tool('visualize', 'aggregation', '--out', out, *args)
    assert not (bench.folder / out).exists()
    return seen


def aggregation_scale_outside(bench):
    return _aggregation(bench, '--scale', 0.3)


def aggregation_scale_nan(bench):
    return _aggregation(bench, '--scale', 'nan')


def aggregation_ratios_turned(bench):
    return _aggregation(bench, '--ratios', 1, 0.5)


def aggregation_size_one(bench):
    return _aggregation(bench, '--size', 1, 8)


def aggregation_cell_outside(bench):
    return _aggregation(bench, '--cell', 5, 0)


def aggregation_out_jpg(bench):
    return _aggregation(bench, out='out.jpg')


def _stock_checkpoint(bench):
    state = bench.project.model.state_dict()
    torch.save(dict(state_dict={k: v for k, v in state.items() if 'dynopools' not in k},
                    meta={}), bench.folder / 'stock.pth')
    return 'stock.pth'


def shapes_stock_checkpoint(bench):
    return _shapes(bench, '--config', bench.project.config, '--checkpoint',
                   _stock_checkpoint(bench))


def shapes_run_twice(bench):
    _log(bench, LINE)
    return _shapes(bench, 'run', 'run/20260101_000000')


def _field(bench, config=None, checkpoint=None, image=None, out='out.png'):
    return bench.tool('visualize', 'receptive-field', config or bench.project.config,
                      checkpoint or bench.project.checkpoint, image or bench.project.images[0],
                      '--out', out)


def field_of_a_stock_network(bench):
    return _field(bench, bench.project.folder / 'my_hrnet_config.py', _stock_checkpoint(bench))


def field_stock_checkpoint(bench):
    return _field(bench, checkpoint=_stock_checkpoint(bench))


def field_out_jpg(bench):
    return _field(bench, out='out.jpg')


def field_image_missing(bench):
    return _field(bench, image='lost.png')


def field_no_image(bench):
    return _field(bench, image=bench.write('notes.png', 'words'))


def field_checkpoint_missing(bench):
    return _field(bench, checkpoint='lost.pth')


def field_diverged(bench):
    saved = torch.load(bench.project.checkpoint, weights_only=False)
    saved['state_dict']['backbone.conv1.weight'].fill_(float('nan'))
    torch.save(saved, bench.folder / 'nan.pth')
    return _field(bench, checkpoint='nan.pth')


def _analyze(bench, *options, split='train'):
    return bench.tool('analyze_dataset', bench.project.config, '--split', split, '--images', 2,
                      '--cfg-options', *options)


def analysis_folder_missing(bench):
    return _analyze(bench, 'train_dataloader.dataset.data_root=nowhere')


def analysis_without_labels(bench):
    bench.write_config("train_dataloader = dict(dataset=dict(pipeline=["
                       "dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]))")
    return bench.tool('analyze_dataset', 'bad.py')


def analysis_images_zero(bench):
    return bench.tool('analyze_dataset', bench.project.config, '--images', 0)


def analysis_of_tiny_images(bench):
    images, labels, option = bench.copy_data()
    for path in (*images, *labels):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:20, :24])
    return _analyze(bench, option)


def analysis_of_one_color(bench):
    images, labels, option = bench.copy_data()
    for path in images:
        cv2.imwrite(str(path), np.full((66, 80, 3), 7, np.uint8))
    for path in labels:
        cv2.imwrite(str(path), np.zeros((66, 80), np.uint8))
    return _analyze(bench, option)


def analysis_out_is_a_folder(bench):
    return bench.tool('analyze_dataset', bench.project.config, '--out', '.')


def _work_dir(bench, *lines, log=True):
    """A work dir such as a training leaves, with a log of ``lines``."""
    bench.write_config(f'data_root = {str(bench.project.data)!r}', *lines, name='run/config.py')
    shutil.copyfile(bench.project.checkpoint, bench.folder / 'run' / 'iter_1.pth')
    if log:
        _log(bench, LINE)
    return bench.folder / 'run'


def _report(bench, *args, ok=False):
    seen = bench.tool('report', 'run', '--images', 1, '--repeats', 1, *args, ok=ok)
    assert ok or not list(bench.folder.rglob('*.html'))
    return seen


def report_work_dir_missing(bench):
    return _report(bench)


def report_without_config(bench):
    (_work_dir(bench) / 'config.py').unlink()
    return _report(bench)


def report_without_checkpoint(bench):
    (_work_dir(bench) / 'iter_1.pth').unlink()
    return _report(bench)


def report_checkpoint_cut_off(bench):
    path = _work_dir(bench) / 'iter_1.pth'
    path.write_bytes(path.read_bytes()[:1000])
    return _report(bench)


def report_without_log(bench):
    _work_dir(bench, log=False)
    return _report(bench)


def report_log_of_another_project(bench):
    _work_dir(bench, log=False)
    _log(bench, dict(bbox_mAP=0.5, step=1))
    return _report(bench)


def report_config_of_a_detector(bench):
    (_work_dir(bench) / 'config.py').write_text("model = dict(type='RetinaNet')\n")
    return _report(bench)


def report_without_val_data(bench):
    _work_dir(bench, 'val_dataloader = None', 'val_cfg = None', 'val_evaluator = None')
    return _report(bench)


def report_val_data_moved(bench):
    _work_dir(bench)
    return _report(bench, '--cfg-options', 'val_dataloader.dataset.data_root=nowhere')


def report_baseline_missing(bench):
    _work_dir(bench)
    return _report(bench, '--baseline', 'lost')


def report_out_is_a_folder(bench):
    _work_dir(bench)
    return _report(bench, '--out', '.')


def report_shape_zero(bench):
    _work_dir(bench)
    return _report(bench, '--shape', 0, 64)


def gallery_without_demo(bench):
    seen = bench.tool('gallery')
    assert not (bench.folder / 'docs').exists() and (ROOT / 'docs' / 'gallery').is_dir()
    return seen
