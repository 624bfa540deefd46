"""What the check of the data refuses, what it warns of, and what it lets pass."""

import copy
import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.models import FCNHead
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.hooks import LabelCheckHook
from support.bands import ColorsToClasses, CountsFromOne, bands_config, write_bands
from support.commands import own_singletons


@pytest.fixture
def root(tmp_path):
    return write_bands(tmp_path / 'data')


@pytest.fixture
def told(monkeypatch):
    """What the check logs: ``(level, text)``."""
    lines = []
    with own_singletons():
        logger = MMLogger.get_instance('check')
        monkeypatch.setattr(logger, 'handle', lambda record: record.levelno > logging.DEBUG
                            and lines.append((record.levelno, record.getMessage())))
        yield lines


def check(cfg, *names):
    check_data(cfg, *(f'{name}_dataloader' for name in names or ('train', 'val', 'test')))


def label(root, k, split='train'):
    return str(root / 'labels' / split / f'{k}.png')


def relabel(root, change, split='train', which=range(4)):
    for k in which:
        old = cv2.imread(label(root, k, split), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(label(root, k, split), change(old))


def test_data_of_ones_own_pass_without_a_word(root, told):
    check(bands_config(root))
    assert told == []


def test_a_broken_array_is_named(root):
    (root / 'images' / 'train' / '3.npy').write_bytes(b'no array')
    with pytest.raises(ValueError, match=r'train_dataloader: .*3\.npy or its label map .* cannot'):
        check(bands_config(root))


def test_data_sets_in_others_are_looked_at(root):
    cfg = bands_config(root)
    inner = dict(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[
        dict(type='RepeatDataset', times=2, dataset=inner), inner])
    check(cfg, 'train')
    relabel(root, lambda old: old + 32, which=[0])
    with pytest.raises(ValueError, match=r'labels/train/0.png holds 32, 33, but .*num_classes=2'):
        check(cfg, 'train')


def test_a_wrapper_that_goes_on_with_the_samples(root, told):
    cfg = bands_config(root)
    inner = dict(cfg.train_dataloader.dataset)
    inner['pipeline'] = inner['pipeline'][:2]
    cfg.train_dataloader.dataset = dict(
        type='mmseg.MultiImageMixDataset', dataset=inner, pipeline=[
            dict(type='mmseg.RandomMosaic', prob=1, img_scale=(48, 64)),
            dict(type='mmseg.PackSegInputs')])
    relabel(root, lambda old: old + 32, which=[0])  # it may mend them
    check(cfg, 'train')
    assert told == []
    (root / 'labels' / 'train' / '0.png').unlink()
    with pytest.raises(ValueError, match='1 of 4 images have no label map'):
        check(cfg, 'train')


def test_a_wrapper_of_ones_own_is_told_of_and_taken_as_it_is(root, told):
    cfg = bands_config(root)
    cfg.train_dataloader.dataset = dict(type='support.bands.Twice',
                                        source=cfg.train_dataloader.dataset)
    relabel(root, lambda old: old + 32)
    check(cfg, 'train')
    assert told == [(logging.INFO, "train_dataloader: a Twice is no BaseDataset of mmengine's, so "
                     'its files were not looked at')]


def test_several_loaders_and_settings_of_other_meanings(root):
    cfg = bands_config(root)
    cfg.val_dataloader = [cfg.val_dataloader, cfg.train_dataloader]
    cfg.test_dataloader.dataset.dataset = 'houses'  # no data set, but a word of one's own
    with pytest.raises(ValueError, match=r'BandsDataset cannot be built .*argument'):
        check(cfg)
    check(cfg, 'val')
    cfg.train_dataloader.dataset.type = 'MyDataset'
    with pytest.raises(ValueError, match=r"MyDataset is not in .*; name the module of each class "
                       r"of your own in custom_imports, whose list takes the place of that in the "
                       r"config's _base_$"):
        check(cfg, 'train')


def test_names_that_are_no_files(root, told, monkeypatch):
    """They are tried: what the data set itself reads is there."""
    monkeypatch.setattr('support.bands.BandsDataset.load_data_list', lambda self: [
        dict(img_path=f'archive#{k}', seg_map_path=f'{root}/labels/train/{k}.png', seg_fields=[],
             reduce_zero_label=False, label_map=None) for k in range(4)])
    cfg = bands_config(root)
    with pytest.raises(ValueError, match='4 of 4 listed images do not exist; missing: archive#0'):
        check(cfg, 'train')
    monkeypatch.setattr('support.bands.np.load', lambda name: np.zeros((48, 64, 12), np.float32))
    check(cfg, 'train')
    assert told == []


def colors(old):
    return cv2.merge([0 * old, 0 * old, 255 * old])


def test_label_maps_that_a_later_transform_mends(root, told):
    cfg = bands_config(root)
    relabel(root, colors)
    with pytest.raises(ValueError, match=r'has shape \(48, 64, 3\); it must have one channel'):
        check(cfg, 'train')
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [*pipeline[:2], dict(type=ColorsToClasses),
                                             *pipeline[2:]]
    check(cfg, 'train')
    assert told == []


def test_what_a_head_of_ones_own_takes(root, told):
    cfg = bands_config(root)
    relabel(root, lambda old: old + 1)
    with pytest.raises(ValueError, match='holds 2, but'):
        check(cfg, 'train')
    cfg.model.decode_head.type = CountsFromOne
    check(cfg, 'train')
    assert [text for _, text in told] == [
        'train_dataloader: the model has no decode head of mmseg, or computes its loss in its own '
        'way, so the label maps were not looked at']


def test_labels_that_no_loss_fails_on_are_told_of_once(root, told):
    cfg = bands_config(root)
    relabel(root, lambda old: old + 1)
    cfg.model.decode_head.loss_decode = dict(type='mmseg.DiceLoss')
    check(cfg, 'train')
    relabel(root, lambda old: old + 32, 'val')
    check(cfg, 'val')
    assert [level for level, _ in told] == 2 * [logging.WARNING]
    assert 'labels/train/0.png holds 2, but' in told[0][1]
    assert 'val_dataloader: the label map' in told[1][1] and 'holds 32, 33, but' in told[1][1]


def test_label_maps_of_another_size(root, told):
    """All of one size: a batch can be made of them, and the loss fits the output to it."""
    def half(old):
        return old[::2, ::2]

    cfg = bands_config(root)
    relabel(root, half, which=[2])
    with pytest.raises(ValueError, match=r'2.png is 24 x 32, its image 48 x 64'):
        check(cfg, 'train')
    relabel(root, half, which=[0, 1, 3])
    check(cfg, 'train')
    assert len(told) == 1 and told[0][0] == logging.WARNING
    relabel(root, half, 'val')
    with pytest.raises(ValueError, match=r'val_dataloader: .* is 24 x 32'):
        check(cfg, 'val')
    cfg.val_evaluator = [dict(type='support.bands.OwnMetric')]
    check(cfg, 'val')
    assert len(told) == 2


def test_an_unreadable_list_is_explained(root):
    cfg = bands_config(root)
    lost = copy.deepcopy(cfg)
    lost.train_dataloader.dataset.data_root = 'nowhere'
    with pytest.raises(ValueError, match=r"train_dataloader: the folder 'nowhere/images/train'"):
        check(lost)
    cfg.train_dataloader.dataset.img_suffix = '.mat'
    with pytest.raises(ValueError, match=r"the data set is empty: no '\.mat' files in '.*train'"):
        check(cfg)


def test_the_hook_stops_in_a_training_alone(told):
    label = PixelData(data=torch.tensor([[[0, 7]]]))
    batch = dict(data_samples=[SegDataSample(gt_sem_seg=label, metainfo=dict(seg_map_path='a'))])
    head = FCNHead(in_channels=4, channels=4, num_classes=3)
    runner = SimpleNamespace(model=nn.ModuleDict(dict(decode_head=head)), iter=0,
                             logger=MMLogger.get_current_instance())
    hook = LabelCheckHook()
    with pytest.raises(ValueError, match='train, iteration 1: the label map a holds 7, but'):
        hook.before_train_iter(runner, 0, batch)
    for _ in range(2):
        hook.before_val_iter(runner, 0, batch)
    assert [level for level, _ in told] == [logging.WARNING] and 'val, iteration' in told[0][1]
    runner.model.decode_head = CountsFromOne(in_channels=4, channels=4, num_classes=3)
    hook.before_train_iter(runner, 0, batch)
    runner.model.decode_head = FCNHead(in_channels=4, channels=4, num_classes=3,
                                       loss_decode=dict(type='mmseg.LovaszLoss', per_image=True))
    LabelCheckHook().before_train_iter(runner, 0, batch)
    assert len(told) == 2
