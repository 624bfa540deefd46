"""The command lines end to end: train, resume, test, infer, on a tiny tree like Cityscapes."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.utils import get_palette

from support.commands import scalars, script, tool, tool_process
from support.networks import scatter
from support.toys import ROOT, hrnet_extra, write_cityscapes

CONFIG = ROOT / 'configs' / 'hrnet_w48_dynopool_cityscapes.py'
OCR_CONFIG = ROOT / 'configs' / 'hrnet_w48_ocr_dynopool_cityscapes.py'
CHANNELS = (4, 8, 12, 16)
# Besides the network, only sizes, batch and the place of data and weights differ from the real run.
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


def write_tiny(path, base):
    """A config over one of ours, with a tiny network."""
    heads = Config.fromfile(base).model.decode_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(in_channels=CHANNELS, channels=sum(CHANNELS))
    path.write_text(f'_base_ = {str(base)!r}\nmodel = dict(decode_head={heads}, '
                    f'backbone=dict(extra={hrnet_extra(CHANNELS)}))\n')


@pytest.fixture(scope='module')
def trained(cityscapes, tmp_path_factory):
    """A folder with a tiny config and its run of one epoch and, resumed, a second one."""
    cwd = tmp_path_factory.mktemp('elsewhere')
    write_tiny(cwd / 'tiny.py', CONFIG)
    options = ['--work-dir', 'run', '--cfg-options', *SIZES, *data_options(cityscapes)]
    schedule = ['param_scheduler.0.end=2']
    tool('train', 'tiny.py', *options, *schedule, 'train_cfg.max_epochs=1', cwd=cwd)
    first = torch.load(cwd / 'run' / 'epoch_1.pth', weights_only=False)
    log = tool('train', 'tiny.py', '--resume', *options, *schedule, 'train_cfg.max_epochs=2',
               cwd=cwd)
    scatter(cwd / 'tiny.py', cwd / 'run' / 'epoch_2.pth',
            cityscapes / 'leftImg8bit' / 'train' / 'town', cwd / 'good.pth')
    return cwd, first, log


def logged_miou(log):
    return float(re.findall(r'\bmIoU: (\d+\.\d+)', log)[-1])


def test_trains_validates_saves_and_resumes(trained, cityscapes):
    cwd, first, log = trained
    assert 'resumed epoch: 1, iter: 2' in log
    last = torch.load(cwd / 'run' / 'epoch_2.pth', weights_only=False)
    assert last['meta']['iter'] == 4 and first['meta']['iter'] == 2
    alphas = [k for k in last['state_dict'] if 'alpha' in k]
    assert alphas == [f'backbone.dynopools.stream{k}.alpha' for k in (1, 2, 3)]
    lines = scalars(cwd / 'run')
    steps = [line for line in lines if 'loss_gmacs' in line]
    assert [line['iter'] for line in steps] == [1, 2, 3, 4]
    for line in steps:
        assert line['loss'] == pytest.approx(line['decode.loss_ce'] + line['loss_gmacs'],
                                             rel=1e-5)
        assert line['loss_gmacs'] == pytest.approx(7e-5 * line['gmacs'], rel=1e-4)
    # 19 classes, and a last layer that starts near zero.
    assert steps[0]['decode.loss_ce'] == pytest.approx(np.log(19), rel=0.2)
    assert steps[0]['gmacs_ratio'] == pytest.approx(1.0)
    tested = tool('test', 'tiny.py', 'run/epoch_2.pth', '--work-dir', 'again', '--cfg-options',
                  *SIZES, *data_options(cityscapes), cwd=cwd)
    validated = [line['mIoU'] for line in lines if 'mIoU' in line]
    assert len(validated) == 2 and logged_miou(tested) == pytest.approx(validated[1], abs=1e-4)


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


@pytest.fixture(scope='module')
def tested(trained, cityscapes):
    """The folder, what tools/test.py printed, and the label maps that it wrote."""
    cwd, _, _ = trained
    log = tool('test', 'tiny.py', 'good.pth', '--work-dir', 'test', '--out', 'labels',
               '--show-dir', 'shown', '--cfg-options', *SIZES, *data_options(cityscapes),
               cwd=cwd)
    return cwd, log, read_maps(cwd / 'labels')


def read_maps(folder):
    return np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                     for path in sorted(folder.glob('*.png'))])


def miou(predicted, root):
    """Mean over the classes of intersection over union, in percent, of the val split."""
    truth = read_maps(root / 'gtFine' / 'val' / 'town')
    ious = []
    for k in range(19):
        found, there = (predicted == k) & (truth != 255), truth == k
        if (found | there).any():
            ious.append((found & there).sum() / (found | there).sum())
    return 100 * np.mean(ious)


def test_test_writes_metrics_predictions_and_pictures(tested, cityscapes):
    cwd, log, predicted = tested
    assert predicted.shape == (4, 80, 144) and len(np.unique(predicted)) > 3
    assert logged_miou(log) == pytest.approx(miou(predicted, cityscapes), abs=0.006)
    gmacs = init_model(str(cwd / 'tiny.py'), str(cwd / 'good.pth'), 'cpu').count_gmacs((80, 144))
    cost, = re.findall(r'cost of one image: (\d[\d.]*) GMACs at 80 x 144', log)
    assert float(cost) == pytest.approx(gmacs, rel=1e-2)
    shown = sorted((cwd / 'shown' / 'vis_data' / 'vis_image').glob('*.png'))
    images = sorted((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())
    for path, image in zip(shown, images, strict=True):
        assert path.name.startswith(f'test_{image.name.removesuffix("_leftImg8bit.png")}')
        truth, prediction = np.split(cv2.imread(str(path)).astype(int), 2, axis=1)
        assert truth.shape == cv2.imread(str(image)).shape
        assert np.abs(truth - prediction).mean() > 5


def test_a_list_of_evaluators_writes_the_same_label_maps(tested, cityscapes):
    cwd, _, predicted = tested
    (cwd / 'two.py').write_text(
        "_base_ = './tiny.py'\ntest_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']),\n"
        "                  dict(type='IoUMetric', iou_metrics=['mDice'], prefix='dice')]\n")
    log = tool('test', 'two.py', 'good.pth', '--work-dir', 'two', '--out', 'listed',
               '--cfg-options', *SIZES, *data_options(cityscapes), cwd=cwd)
    assert np.array_equal(read_maps(cwd / 'listed'), predicted)
    assert logged_miou(log) == pytest.approx(miou(predicted, cityscapes), abs=0.006)


def test_test_time_augmentation(tested, cityscapes):
    """Against images resized, turned, segmented and averaged by hand."""
    cwd, _, plain = tested
    log = tool('test', 'tiny.py', 'good.pth', '--work-dir', 'tta', '--tta', '--out', 'averaged',
               '--cfg-options', *[o for o in SIZES if not o.startswith('test_dataloader.dataset')],
               *data_options(cityscapes), cwd=cwd)
    predicted = read_maps(cwd / 'averaged')
    assert logged_miou(log) == pytest.approx(miou(predicted, cityscapes), abs=0.006)
    model = init_model(str(cwd / 'tiny.py'), str(cwd / 'good.pth'), 'cpu')
    for path, ours, alone in zip(sorted((cityscapes / 'leftImg8bit/val/town').iterdir()),
                                 predicted[:2], plain, strict=False):
        by_hand = average_over_sizes_and_flips(model, cv2.imread(str(path)))
        assert (ours == by_hand).mean() > 0.999
        assert (ours == alone).mean() < 0.99


def average_over_sizes_and_flips(model, image):
    """The most probable class of each pixel, as six sizes and their mirror images see it."""
    height, width = image.shape[:2]
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (
        (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    total = 0
    for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75):
        size = round(ratio * height), round(ratio * width)
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        for axes in ((), (3, )):
            x = torch.from_numpy(resized[..., ::-1].copy()).permute(2, 0, 1)
            x = ((x - mean) / std)[None].flip(axes)
            with torch.no_grad():
                logits = F.interpolate(model._forward(x), size, mode='bilinear').flip(axes)
            total = total + F.interpolate(logits, (height, width), mode='bilinear').softmax(1)
    return total[0].argmax(0).numpy()


def test_infer_writes_overlays_and_labels(tested, cityscapes):
    """In a process of its own; the label maps are those of tools/test.py."""
    cwd, _, predicted = tested
    folder = cityscapes / 'leftImg8bit' / 'val' / 'town'
    log = tool_process('infer', 'tiny.py', 'good.pth', folder, '--out', 'inferred',
                       '--opacity', 0.25, '--cfg-options', 'test_pipeline.1.scale=(144,80)',
                       cwd=cwd)
    assert '4 images' in log and re.search(r'\d[\d.]* GMACs at 80 x 144', log)
    assert np.array_equal(read_maps(cwd / 'inferred' / 'labels'), predicted)
    assert np.unique(predicted).max() < 19
    palette = np.array(get_palette('cityscapes'), np.float64)[:, ::-1]
    for path, label in zip(sorted(folder.iterdir()), predicted, strict=True):
        overlay = cv2.imread(str(cwd / 'inferred' / 'overlays' / path.name))
        expected = 0.75 * cv2.imread(str(path)) + 0.25 * palette[label]
        assert np.abs(overlay - expected).max() <= 1


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
import json
print('scales', json.dumps([p.scale.tolist() for p in model.backbone.dynopools.values()]))
"""


def test_inference_api_of_mmseg_without_an_import_of_ours(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    image = next((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())
    (tmp_path / 'use.py').write_text(INFERENCE)
    printed = script(tmp_path / 'use.py', cwd / 'tiny.py', cwd / 'good.pth', image, cwd=tmp_path)
    state = torch.load(cwd / 'good.pth', weights_only=False)['state_dict']
    expected = [(1 / value).tolist() for key, value in state.items() if key.endswith('.alpha')]
    scales = json.loads(printed.split('scales ')[-1].splitlines()[0])
    assert len(scales) == 3
    assert all(found == pytest.approx(pair) for found, pair in zip(scales, expected))
    shown = cv2.imread(str(tmp_path / 'shown.png'))
    assert shown.shape == cv2.imread(str(image)).shape
    assert not np.array_equal(shown, cv2.imread(str(image)))


def test_a_checkpoint_of_another_architecture_is_refused(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    path = cwd / 'run' / 'epoch_2.pth'
    write_tiny(tmp_path / 'ocr.py', OCR_CONFIG)
    image = next((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())
    printed = tool('infer', 'ocr.py', path, image, '--out', 'never', cwd=tmp_path, ok=False)
    assert 'another architecture' in printed and 'decode_head.0.convs' in printed
    assert not (tmp_path / 'never').exists()
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(path.read_bytes()[:100_000])
    printed = tool('infer', cwd / 'tiny.py', cut, image, '--out', 'never', cwd=tmp_path,
                   ok=False)
    assert 'cut.pth cannot be read as a checkpoint' in printed


def test_missing_data_is_named(cityscapes, tmp_path):
    options = ['--work-dir', 'run', '--cfg-options', *SIZES]
    printed = tool('train', CONFIG, *options, *data_options('nowhere'), cwd=tmp_path, ok=False)
    assert "the folder 'nowhere/leftImg8bit/train' (img_path) does not exist" in printed
    printed = tool('train', 'no_such_config.py', cwd=tmp_path, ok=False)
    assert "there is no config 'no_such_config.py'" in printed


def test_a_start_from_another_backbone_is_refused(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    state = torch.load(cwd / 'run' / 'epoch_2.pth', weights_only=False)['state_dict']
    torch.save({key.replace('backbone', 'trunk'): value for key, value in state.items()},
               tmp_path / 'trunk.pth')
    printed = tool('train', cwd / 'tiny.py', '--work-dir', 'run', '--cfg-options', *SIZES,
                   *data_options(cityscapes), f'load_from={tmp_path / "trunk.pth"}', cwd=tmp_path,
                   ok=False)
    assert 'another architecture' in printed and 'backbone.conv1.weight is missing' in printed


def test_images_of_one_name_are_refused(trained, cityscapes, tmp_path):
    cwd, _, _ = trained
    image = cv2.imread(str(next((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())))
    for suffix in ('png', 'jpg'):
        cv2.imwrite(str(tmp_path / f'twin.{suffix}'), image)
    printed = tool('infer', cwd / 'tiny.py', cwd / 'run' / 'epoch_2.pth', tmp_path, '--out',
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
    root = write_cityscapes(tmp_path / 'data')
    lost = root / 'gtFine' / 'train' / 'town' / 'town_000002_000019_gtFine_labelTrainIds.png'
    lost.unlink()
    printed = tool('train', CONFIG, '--work-dir', 'run', '--cfg-options', *SIZES,
                   *data_options(root), cwd=tmp_path, ok=False)
    assert '1 of 4 images have no label map' in printed and lost.name in printed
