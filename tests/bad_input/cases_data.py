"""Data sets for training, validation and testing."""

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_dynopool.hooks.label_check import LabelCheckHook


def _read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def _train_with_label(bench, change, ok=False):
    """Train on data of which one label map is changed."""
    _, labels, option = bench.copy_data()
    cv2.imwrite(str(labels[1]), change(_read(labels[1])))
    return bench.train(option, ok=ok)


def data_folder_missing(bench):
    return bench.train('train_dataloader.dataset.data_root=nowhere')


def data_folder_missing_in_test(bench):
    return bench.tool('test', bench.project.config, bench.project.checkpoint, '--cfg-options',
                      'test_dataloader.dataset.data_root=nowhere')


def data_empty(bench):
    for folder in ('leftImg8bit', 'gtFine'):
        (bench.folder / 'data' / folder / 'train').mkdir(parents=True)
    return bench.train('train_dataloader.dataset.data_root=data')


def data_list_missing(bench):
    return bench.train('train_dataloader.dataset.ann_file=lost.txt')


def label_missing(bench):
    _, labels, option = bench.copy_data()
    labels[1].unlink()
    return bench.train(option)


def label_empty_file(bench):
    _, labels, option = bench.copy_data()
    labels[0].write_bytes(b'')
    return bench.train(option)


def label_corrupt(bench):
    _, labels, option = bench.copy_data()
    labels[0].write_bytes(labels[0].read_bytes()[:60])
    return bench.train(option)


def image_corrupt_in_training(bench):
    images, _, option = bench.copy_data()
    images[1].write_bytes(b'noise')
    return bench.train(option)


def label_out_of_range(bench):
    return _train_with_label(bench, lambda label: np.where(label == 255, 255, 33).astype('u1'))


def label_out_of_range_in_test(bench):
    _, _, option = bench.copy_data()
    for path in bench.folder.glob('data/gtFine/val/town/*.png'):
        cv2.imwrite(str(path), np.full_like(_read(path), 19))
    return bench.tool('test', bench.project.config, bench.project.checkpoint, '--cfg-options',
                      option.replace('train_', 'test_'), ok=True)


def label_zero_not_reduced(bench):
    """Labels from 1 to 19, as in data sets whose 0 is the background."""
    return _train_with_label(bench, lambda label: np.where(label == 255, 255, 19).astype('u1'))


def label_zero_reduced(bench):
    """The same with the option that the message names: it trains."""
    _, labels, option = bench.copy_data()
    for path in labels:
        label = _read(path)
        cv2.imwrite(str(path), np.where(label == 255, 0, label + 1).astype(np.uint8))
    return bench.train(option, 'train_dataloader.dataset.reduce_zero_label=True', ok=True)


def label_16_bit(bench):
    return _train_with_label(bench, lambda label: label.astype(np.uint16) + 256, ok=True)


def label_of_another_size(bench):
    return _train_with_label(bench, lambda label: label[:-3, :-5])


def label_in_colors(bench):
    return _train_with_label(bench, lambda label: cv2.merge([label] * 3))


def label_out_of_range_in_a_later_batch(bench):
    """What the samples at the start did not show: the hook names it in its batch."""
    sample = SegDataSample(metainfo=dict(seg_map_path='gtFine/bad.png'))
    sample.gt_sem_seg = _pixels([[0, 255], [18, 40]])
    good = SegDataSample()
    good.gt_sem_seg = _pixels([[0, 255], [18, 3]])
    runner = _Runner(bench.project.model)
    hook = LabelCheckHook()
    hook.before_train_iter(runner, 0, dict(data_samples=[good]))
    return bench.call(hook.before_train_iter, runner, 4, dict(data_samples=[good, sample]))


def _pixels(values):
    return PixelData(data=torch.tensor([values]))


class _Runner:
    iter = 4

    def __init__(self, model):
        self.model = model
