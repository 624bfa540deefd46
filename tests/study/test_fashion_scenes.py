"""Scenes of garments: what the variants promise, from files that the test makes."""

import gzip

import cv2
import numpy as np
import pytest

from mmseg_dynopool import FashionScenesDataset
from study import fashion_scenes as module
from study.fashion_scenes import (
    VARIANTS,
    SceneVariant,
    compose_scene,
    prepare_fashion_scenes,
    read_fashion_mnist,
)
from support.commands import tool


def write_source(folder, seed=0):
    """Rectangles for garments: classes 0 to 4 for training, 5 to 9 for validation."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for prefix, classes in (('train', range(5)), ('t10k', range(5, 10))):
        labels = np.repeat(np.uint8(classes), 4)
        images = np.zeros((len(labels), 28, 28), np.uint8)
        for image in images:
            top, left = generator.integers(2, 8, 2)
            image[top:28 - top, left:28 - left] = generator.integers(50, 255)
        for name, array in (('images-idx3', images), ('labels-idx1', labels)):
            header = np.array([0x0800 + array.ndim, *array.shape], '>i4').tobytes()
            (folder / f'{prefix}-{name}-ubyte.gz').write_bytes(
                gzip.compress(header + array.tobytes()))
    return folder


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / 'source')


def scene(source, variant, seed=0, split='train'):
    return compose_scene(variant, *read_fashion_mnist(source, split),
                         np.random.default_rng(seed))


def extent(label):
    """Height and width of what is not background."""
    rows, columns = np.nonzero(label)
    return np.ptp(rows) + 1, np.ptp(columns) + 1


@pytest.mark.parametrize('name, ratio', [('isotropic', 1), ('stretched_h', 3),
                                         ('stretched_w', 1 / 3)])
def test_a_garment_is_stretched_as_the_variant_says(name, ratio):
    """A square of 20 units, alone on a canvas."""
    square = np.zeros((1, 28, 28), np.uint8)
    square[0, 4:24, 4:24] = 200
    alone = SceneVariant(base=(96, 96), stretch=VARIANTS[name].stretch, sizes=(1, 1), pitch=400)
    for seed in range(400):
        _, label = compose_scene(alone, square, np.uint8([3]), np.random.default_rng(seed))
        inside = label.any() and not any(
            edge.any() for edge in (label[0], label[-1], label[:, 0], label[:, -1]))
        if inside:
            break
    height, width = extent(label)
    down, right = alone.stretch
    assert down / right == pytest.approx(ratio)
    assert abs(height - 20 * down) <= 1 and abs(width - 20 * right) <= 1
    assert set(np.unique(label)) == {0, 4}


@pytest.mark.parametrize('name', ['stretched_h', 'stretched_w'])
def test_stretched_scenes_are_the_isotropic_ones_stretched(source, name):
    for seed in range(5):
        image, label = scene(source, VARIANTS['isotropic'], seed)
        stretched, its_label = scene(source, VARIANTS[name], seed)
        back = cv2.resize(its_label, label.shape[::-1], interpolation=cv2.INTER_NEAREST)
        assert (back == label).mean() > 0.93
        # The images, free of the noise of single pixels.
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 4)
        other = cv2.GaussianBlur(cv2.resize(stretched, label.shape[::-1]).astype(np.float32),
                                 (0, 0), 4)
        assert np.corrcoef(smooth.ravel(), other.ravel())[0, 1] > 0.98


def areas(source, variant):
    """Pixels of each garment that lies apart from the others and the border."""
    found = []
    for seed in range(30):
        _, label = scene(source, variant, seed)
        count, _, stats, _ = cv2.connectedComponentsWithStats((label > 0).astype(np.uint8))
        for k in range(1, count):
            left, top, width, height, area = stats[k]
            if left and top and left + width < label.shape[1] and top + height < label.shape[0]:
                found.append(area)
    return np.array(found)


def test_enlarged_garments_are_twice_as_large(source):
    plain, enlarged = (areas(source, VARIANTS[name]) for name in ('isotropic', 'enlarged'))
    assert np.median(enlarged) / np.median(plain) == pytest.approx(4, rel=0.25)


def test_mixed_garments_are_of_many_sizes(source):
    plain, mixed = (areas(source, VARIANTS[name]) for name in ('isotropic', 'mixed'))
    assert np.percentile(mixed, 95) / np.percentile(mixed, 5) > 2 * np.percentile(
        plain, 95) / np.percentile(plain, 5)


def test_each_split_shows_its_own_garments(source, tmp_path):
    counts = prepare_fashion_scenes(tmp_path / 'out', 'mixed', source, train=6, val=4)
    assert counts == dict(train=6, val=4)
    classes = {split: set(np.concatenate([
        np.unique(cv2.imread(str(p), cv2.IMREAD_UNCHANGED))
        for p in (tmp_path / 'out' / 'labels' / split).iterdir()])) for split in counts}
    assert classes == dict(train={0, 1, 2, 3, 4, 5}, val={0, 6, 7, 8, 9, 10})


def test_the_same_arguments_give_the_same_files(source, tmp_path):
    def files(name, train, **options):
        prepare_fashion_scenes(tmp_path / name, source=source, train=train, val=1, **options)
        return {p.relative_to(tmp_path / name): p.read_bytes()
                for p in (tmp_path / name).rglob('*.png')}

    once, more = files('once', 2), files('more', 3)
    assert len(once) == 6 and once.items() < more.items()
    assert files('again', 2) == once
    assert files('more', 2) == once, 'scenes of an earlier call go'
    other = files('other', 2, seed=1)
    assert not set(other.values()) & set(once.values())


def test_the_data_set_shows_what_was_written(source, tmp_path):
    prepare_fashion_scenes(tmp_path, 'stretched_h', source, train=2, val=1)
    data = FashionScenesDataset(
        data_root=str(tmp_path), data_prefix=dict(img_path='images/train',
                                                  seg_map_path='labels/train'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
    assert len(data) == 2 and len(data.metainfo['classes']) == len(data.metainfo['palette']) == 11
    item = data[1]
    assert item['img'].shape == (216, 72, 3) and item['gt_seg_map'].shape == (216, 72)
    label = cv2.imread(str(tmp_path / 'labels/train/scene_0001.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(item['gt_seg_map'], label) and label.any()


def test_missing_files_are_downloaded(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'URL', source.as_uri() + '/')
    target = tmp_path / 'downloads'
    images, labels = read_fashion_mnist(target, 'val')
    assert images.shape == (20, 28, 28) and set(labels) == {5, 6, 7, 8, 9}
    assert len(list(target.iterdir())) == 2
    monkeypatch.setattr(module, 'URL', (tmp_path / 'nowhere').as_uri() + '/')
    read_fashion_mnist(target, 'val')  # from the disk
    with pytest.raises(OSError, match=r'cannot be downloaded.*dataset-fashion-mnist'):
        read_fashion_mnist(target, 'train')


def test_damaged_and_foreign_files(source):
    path = source / 'train-images-idx3-ubyte.gz'
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r'train-images.*is damaged'):
        read_fashion_mnist(source, 'train')
    path.write_bytes(gzip.compress(
        np.array([0x0803, 2, 32, 32], '>i4').tobytes() + bytes(2 * 32 * 32)))
    with pytest.raises(ValueError, match='not Fashion-MNIST'):
        read_fashion_mnist(source, 'train')


def test_an_unknown_variant(source, tmp_path):
    with pytest.raises(ValueError, match=r"one of .*'stretched_h'.*got 'tall'"):
        prepare_fashion_scenes(tmp_path / 'out', 'tall', source)


def test_one_command_prepares_the_variants(source, tmp_path):
    tool('fashion_scenes', 'mixed', 'stretched_w', '-o', tmp_path / 'out', '--source', source,
         '--train', 2, '--val', 1, cwd=tmp_path)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['mixed', 'stretched_w']
    image = cv2.imread(str(tmp_path / 'out/stretched_w/images/val/scene_0000.png'))
    assert image.shape == (72, 216, 3)
