"""The five-line config in somebody else's project, and the two-process launch."""

import sys

from test_train_and_test import call, tool
from toys import ROOT, fcn_head, hrnet_extra


def write_project(folder, data_root):
    """A user's own HRNet config, in the user's own folder."""
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), pad_val=0,
                               seg_pad_val=255),
        backbone=dict(type='HRNet', extra=hrnet_extra(),
                      norm_cfg=dict(type='SyncBN', requires_grad=True)),
        decode_head=fcn_head((4, 8, 12, 16), 19),
        train_cfg={}, test_cfg=dict(mode='whole'))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    crop, pack = dict(type='RandomCrop', crop_size=(64, 64)), dict(type='PackSegInputs')

    def loader(split, sampler):
        return dict(
            batch_size=2, num_workers=0, sampler=dict(type=sampler, shuffle=False),
            dataset=dict(
                type='CityscapesDataset', data_root=str(data_root),
                pipeline=[*pipeline, *([crop] if split == 'train' else []), pack],
                data_prefix=dict(img_path=f'leftImg8bit/{split}',
                                 seg_map_path=f'gtFine/{split}')))

    settings = dict(
        default_scope='mmseg', model=model, train_dataloader=loader('train', 'InfiniteSampler'),
        val_dataloader=loader('val', 'DefaultSampler'),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(
            type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3),
        val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'),
        test_dataloader=loader('val', 'DefaultSampler'),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']), randomness=dict(seed=1),
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
        log_processor=dict(by_epoch=False), visualizer=dict(
            type='SegLocalVisualizer', name='visualizer',
            vis_backends=[dict(type='LocalVisBackend')]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'my_hrnet_config.py').write_text(
        ''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    (folder / 'my_dynopool_config.py').write_text(readme_config())


def readme_config():
    """The five lines as the README prints them."""
    text = (ROOT / 'README.md').read_text()
    start = text.index("_base_ = './my_hrnet_config.py'")
    lines = text[start:text.index('```', start)]
    assert len(lines.splitlines()) == 5
    return lines


MMSEG_ALONE = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
cfg.work_dir = 'run'
runner = Runner.from_cfg(cfg)
runner.train()
print(type(runner.model).__name__, type(runner.model.backbone).__name__)
print('lr of alpha', [g['initial_lr'] if 'initial_lr' in g else g['lr']
                      for g in runner.optim_wrapper.param_groups if 'lr_mult' in g])
"""


def test_five_lines_in_an_existing_project(cityscapes, tmp_path):
    """Through mmengine's runner, as mmseg's own train.py uses it, from another folder."""
    write_project(tmp_path / 'project', cityscapes)
    script = tmp_path / 'train.py'
    script.write_text(MMSEG_ALONE)
    (tmp_path / 'elsewhere').mkdir()
    printed = call(sys.executable, script, tmp_path / 'project' / 'my_dynopool_config.py',
                   cwd=tmp_path / 'elsewhere')
    assert 'DynOPoolEncoderDecoder DynOPoolHRNet' in printed
    assert 'lr of alpha [0.005, 0.005, 0.005]' in printed
    assert 'dynopool/stream3/scale_w' in printed and 'mIoU' in printed
    assert (tmp_path / 'elsewhere' / 'run' / 'iter_3.pth').is_file()


def test_two_processes_through_the_launcher(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    config = tmp_path / 'my_dynopool_config.py'
    printed = call('bash', ROOT / 'tools' / 'dist_train.sh', config, 2, '--work-dir', 'run',
                   cwd=tmp_path)
    assert 'Iter(train) [3/3]' in printed
    printed = call('bash', ROOT / 'tools' / 'dist_test.sh', config, 'run/iter_3.pth', 2,
                   '--work-dir', 'run', cwd=tmp_path)
    assert 'mIoU' in printed


def test_mixed_precision_on_the_cpu(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    printed = tool('train', tmp_path / 'my_dynopool_config.py', '--amp', '--work-dir', 'run',
                   cwd=tmp_path)
    assert 'CPUAmpOptimWrapper' in printed and 'Iter(train) [3/3]' in printed
