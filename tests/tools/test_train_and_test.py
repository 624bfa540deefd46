"""The command lines end to end: train, resume, test, infer, on a tiny tree like Cityscapes."""

import re
import sys

import cv2
import numpy as np
import pytest
import torch

from support.commands import call, scalars, tool
from support.toys import ROOT

CONFIG = ROOT / 'configs' / 'hrnet_w48_dynopool_cityscapes.py'
# Only sizes, batch and the place of data and weights differ from the real run.
SIZES = [
    'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False', 'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'train_dataloader.dataset.pipeline.2.scale=(144,80)',
    'train_dataloader.dataset.pipeline.3.crop_size=(64,96)',
    'val_dataloader.dataset.pipeline.1.scale=(144,80)',
    'test_dataloader.dataset.pipeline.1.scale=(144,80)', 'model.data_preprocessor.size=(64,96)',
    'model.backbone.init_cfg=None', 'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1', 'train_cfg.val_interval=1'
]


def data_options(root):
    return [f'{loader}_dataloader.dataset.data_root={root}' for loader in ('train', 'val', 'test')]


@pytest.fixture(scope='module')
def trained(cityscapes, tmp_path_factory):
    """The W48 config after one epoch of 2 iterations and, resumed, a second one."""
    cwd = tmp_path_factory.mktemp('elsewhere')
    options = ['--work-dir', 'run', '--cfg-options', *SIZES, *data_options(cityscapes)]
    schedule = ['param_scheduler.0.end=2']
    tool('train', CONFIG, *options, *schedule, 'train_cfg.max_epochs=1', cwd=cwd)
    first = torch.load(cwd / 'run' / 'epoch_1.pth', weights_only=False)
    log = tool('train', CONFIG, '--resume', *options, *schedule, 'train_cfg.max_epochs=2',
               cwd=cwd)
    return cwd, first, log


def test_trains_validates_saves_and_resumes(trained):
    cwd, first, log = trained
    assert 'resumed epoch: 1, iter: 2' in log
    last = torch.load(cwd / 'run' / 'epoch_2.pth', weights_only=False)
    assert last['meta']['iter'] == 4 and first['meta']['iter'] == 2
    alphas = [k for k in last['state_dict'] if 'alpha' in k]
    assert alphas == [f'backbone.dynopools.stream{k}.alpha' for k in (1, 2, 3)]
    lines = scalars(cwd / 'run')
    steps = [line for line in lines if 'loss_gmacs' in line]
    assert [line['iter'] for line in steps] == [1, 2, 3, 4]
    assert all(np.isfinite(line['loss']) for line in steps)
    assert sum('mIoU' in line for line in lines) == 2
    assert steps[0]['gmacs_ratio'] == pytest.approx(1.0)


def test_each_alpha_is_in_one_group_with_its_own_lr(trained):
    cwd, first, _ = trained
    steps = [line for line in scalars(cwd / 'run') if 'loss_gmacs' in line]
    assert steps[0]['dynopool/lr'] > steps[1]['dynopool/lr'] > steps[2]['dynopool/lr']
    assert steps[-1]['dynopool/lr'] == pytest.approx(0.0, abs=1e-12)
    groups = first['optimizer']['param_groups']
    learned = [g for g in groups if g.get('lr_mult') == 0.5]
    assert len(learned) == 3 and all(len(g['params']) == 1 for g in learned)
    assert all(g['initial_lr'] == 8e-3 and g['weight_decay'] == 0.0 for g in learned)
    others = [g for g in groups if g not in learned]
    assert all(g['initial_lr'] == 1.6e-2 and g['weight_decay'] == 1e-4 for g in others)
    parameters = [p for g in groups for p in g['params']]
    assert len(parameters) == len(set(parameters))


def test_test_writes_metrics_predictions_and_pictures(trained, cityscapes):
    cwd, _, _ = trained
    log = tool('test', CONFIG, 'run/epoch_2.pth', '--work-dir', 'test', '--out', 'labels',
               '--show-dir', 'shown', '--cfg-options', *SIZES, *data_options(cityscapes),
               cwd=cwd)
    assert 'mIoU' in log
    assert re.search(r'cost of one image: \d[\d.]* GMACs at 80 x 144', log)
    assert len(list((cwd / 'labels').glob('*.png'))) == 4
    assert len(list((cwd / 'shown' / 'vis_data' / 'vis_image').glob('*.png'))) == 4


def test_test_time_augmentation(trained, cityscapes):
    cwd, _, _ = trained
    log = tool('test', CONFIG, 'run/epoch_2.pth', '--work-dir', 'tta', '--tta', '--cfg-options',
               *[o for o in SIZES if not o.startswith('test_dataloader.dataset')],
               *data_options(cityscapes), cwd=cwd)
    assert 'mIoU' in log


def test_infer_writes_overlays_and_labels(trained, cityscapes):
    cwd, _, _ = trained
    folder = cityscapes / 'leftImg8bit' / 'val' / 'town'
    log = tool('infer', CONFIG, 'run/epoch_2.pth', folder, '--out', 'inferred', '--cfg-options',
               'test_pipeline.1.scale=(144,80)', cwd=cwd)
    assert '4 images' in log and re.search(r'\d[\d.]* GMACs at 80 x 144', log)
    for path in folder.iterdir():
        image = cv2.imread(str(path))
        overlay = cv2.imread(str(cwd / 'inferred' / 'overlays' / path.name))
        label = cv2.imread(str(cwd / 'inferred' / 'labels' / path.name), cv2.IMREAD_UNCHANGED)
        assert overlay.shape == image.shape and label.shape == image.shape[:2]
        assert label.dtype == np.uint8 and label.max() < 19
        assert not np.array_equal(overlay, image)


INFERENCE = """
import sys
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot
config, checkpoint, image = sys.argv[1:]
model = init_model(config, checkpoint, device='cpu')
result = inference_model(model, image)
show_result_pyplot(model, image, result, show=False, out_file='shown.png')
inferencer = MMSegInferencer(model=config, weights=checkpoint, device='cpu')
assert (inferencer(image)['predictions'] == result.pred_sem_seg.data[0].numpy()).all()
assert 'mmseg_dynopool' in sys.modules
print('scales', [p.scale.tolist() for p in model.backbone.dynopools.values()])
"""


def test_inference_api_of_mmseg_without_an_import_of_ours(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    image = next((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())
    script = tmp_path / 'use.py'
    script.write_text(INFERENCE)
    printed = call(sys.executable, script, CONFIG, cwd / 'run' / 'epoch_2.pth', image,
                   cwd=tmp_path)
    assert 'scales [[0.' in printed
    assert (tmp_path / 'shown.png').stat().st_size > 0


def test_a_checkpoint_of_another_architecture_is_refused(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    path = cwd / 'run' / 'epoch_2.pth'
    ocr = ROOT / 'configs' / 'hrnet_w48_ocr_dynopool_cityscapes.py'
    image = next((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())
    printed = tool('infer', ocr, path, image, '--out', 'never', cwd=tmp_path, ok=False)
    assert 'another architecture' in printed and 'decode_head.0.convs' in printed
    assert not (tmp_path / 'never').exists()
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(path.read_bytes()[:100_000])
    printed = tool('infer', CONFIG, cut, image, '--out', 'never', cwd=tmp_path, ok=False)
    assert 'cut.pth cannot be read as a checkpoint' in printed


def test_missing_data_is_named(cityscapes, tmp_path):
    options = ['--work-dir', 'run', '--cfg-options', *SIZES]
    printed = tool('train', CONFIG, *options, *data_options('nowhere'), cwd=tmp_path, ok=False)
    assert "the folder 'nowhere/leftImg8bit/train' (img_path) does not exist" in printed
    printed = tool('train', 'no_such_config.py', cwd=tmp_path, ok=False)
    assert "there is no config 'no_such_config.py'" in printed


def test_a_start_from_another_backbone_is_refused(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    weights = cwd / 'run' / 'epoch_2.pth'
    printed = tool('train', CONFIG, '--work-dir', 'run', '--cfg-options', *SIZES,
                   *data_options(cityscapes), f'load_from={weights}',
                   'model.backbone.extra.stage4.num_channels=(48,96,192,100)',
                   'model.decode_head.in_channels=(48,96,192,100)', cwd=tmp_path, ok=False)
    assert 'another architecture' in printed and 'not (100' in printed


def test_images_of_one_name_are_refused(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    image = cv2.imread(str(next((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())))
    for suffix in ('png', 'jpg'):
        cv2.imwrite(str(tmp_path / f'twin.{suffix}'), image)
    printed = tool('infer', CONFIG, cwd / 'run' / 'epoch_2.pth', tmp_path, '--out',
                   tmp_path / 'never', cwd=tmp_path, ok=False)
    assert "several images are named ['twin']" in printed
    assert not (tmp_path / 'never').exists()


def test_an_empty_data_set_is_named(tmp_path):
    for folder in ('leftImg8bit', 'gtFine'):
        for split in ('train', 'val'):
            (tmp_path / folder / split).mkdir(parents=True)
    printed = tool('train', CONFIG, '--work-dir', 'run', '--cfg-options', *SIZES,
                   *data_options(tmp_path), cwd=tmp_path, ok=False)
    assert 'the data set is empty' in printed and 'leftImg8bit/train' in printed


def test_a_missing_list_of_images_is_named(cityscapes, tmp_path):
    printed = tool('train', CONFIG, '--work-dir', 'run', '--cfg-options', *SIZES,
                   *data_options(cityscapes), 'train_dataloader.dataset.ann_file=lost.txt',
                   cwd=tmp_path, ok=False)
    assert 'lost.txt' in printed and '(ann_file) does not exist' in printed


def test_images_without_labels_are_named(tmp_path):
    from support.toys import write_cityscapes
    root = write_cityscapes(tmp_path / 'data')
    lost = root / 'gtFine' / 'train' / 'town' / 'town_000002_000019_gtFine_labelTrainIds.png'
    lost.unlink()
    printed = tool('train', CONFIG, '--work-dir', 'run', '--cfg-options', *SIZES,
                   *data_options(root), cwd=tmp_path, ok=False)
    assert '1 of 4 images have no label map' in printed and lost.name in printed
