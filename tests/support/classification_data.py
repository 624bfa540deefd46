"""Tiny data sets in the formats of CIFAR-100, FGVC-Aircraft and ImageNet."""

import hashlib
import pickle
from pathlib import Path

import cv2
import numpy as np
from mmpretrain.datasets import CIFAR100, FGVCAircraft


def write_cifar100(folder: Path, patch, train: int = 4, test: int = 2) -> Path:
    """The pickle files; ``patch`` (pytest's monkeypatch) makes their MD5 sums the right ones."""
    base = folder / 'cifar-100-python'
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)
    contents = dict(
        train=_cifar(rng, train), test=_cifar(rng, test),
        meta={'fine_label_names': list(CIFAR100.METAINFO['classes'])})
    sums = {}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (base / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    patch.setattr(CIFAR100, 'train_list', [['train', sums['train']]])
    patch.setattr(CIFAR100, 'test_list', [['test', sums['test']]])
    patch.setattr(CIFAR100, 'meta', {**CIFAR100.meta, 'md5': sums['meta']})
    return folder


def _cifar(rng: np.random.Generator, count: int) -> dict:
    return dict(data=rng.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8),
                fine_labels=rng.integers(0, 100, count).tolist())


def write_aircraft(folder: Path, train: int = 4, test: int = 2) -> Path:
    """``data/images`` and the lists of variants."""
    rng = np.random.default_rng(0)
    classes = FGVCAircraft.METAINFO['classes']
    for split, count in (('trainval', train), ('test', test)):
        lines = []
        for index in range(count):
            name = f'{split}{index:03d}'
            _write_image(folder / 'data' / 'images' / f'{name}.jpg', rng)
            lines.append(f'{name} {classes[rng.integers(len(classes))]}\n')
        (folder / 'data' / f'images_variant_{split}.txt').write_text(''.join(lines))
    return folder


def write_imagenet(folder: Path, train: int = 4, val: int = 2) -> Path:
    """Folders of classes and the lists in ``meta``."""
    rng = np.random.default_rng(0)
    (folder / 'meta').mkdir(parents=True)
    for split, count in (('train', train), ('val', val)):
        lines = []
        for index in range(count):
            name = f'n{index:08d}/{split}_{index}.JPEG'
            _write_image(folder / split / name, rng)
            lines.append(f'{name} {rng.integers(1000)}\n')
        (folder / 'meta' / f'{split}.txt').write_text(''.join(lines))
    return folder


def _write_image(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = rng.integers(0, 256, (240, 260, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode('.jpg', image)[1].tobytes())
