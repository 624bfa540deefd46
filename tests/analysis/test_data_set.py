"""Numbers about images and label maps whose stretch is known."""

import json

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmseg_dynopool.analysis.data_set import analyze, image_scale, starting_scales
from mmseg_dynopool.analysis.spectra import (
    FREQUENCIES,
    LAGS,
    boundary_density,
    cumulative_energy,
    fill_ignored,
    structure_function,
)
from mmseg_dynopool.data.listing import read_samples

SIZE = (288, 320)
FACTORS = (1.5, 2, 3)


def noise(rng, stretch, size=SIZE, sigma=3.0):
    """White noise, blurred with sides in the ratio of the stretch."""
    image = rng.standard_normal(size).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), sigmaX=sigma * stretch[1], sigmaY=sigma * stretch[0])
    return image, (image > 0).astype(np.uint8)


def blobs(rng, stretch, size=SIZE):
    """Soft ellipses of several sizes, bright and dark."""
    y, x = np.ogrid[:size[0], :size[1]]
    image = np.zeros(size, np.float32)
    for _ in range(round(size[0] * size[1] / 1000 / np.prod(stretch))):
        radius = rng.uniform(2, 7)
        tall, wide = (np.exp(-((axis - rng.uniform(0, n)) / (s * radius))**2 / 2)
                      for axis, n, s in zip((y, x), size, stretch))
        image += np.float32(rng.uniform(-1, 1)) * (tall * wide).astype(np.float32)
    return image, np.digitize(image, [-0.3, 0.3]).astype(np.uint8)


def rectangles(rng, stretch, size=SIZE):
    """Rectangles one upon the other, of five classes with a color each, under faint noise."""
    label = np.zeros(size, np.uint8)
    for _ in range(round(size[0] * size[1] / 200 / np.prod(stretch))):
        h, w = np.round(rng.uniform(6, 24, 2) * stretch).astype(int)
        y, x = rng.integers(-h, size[0]), rng.integers(-w, size[1])
        label[max(y, 0):y + h, max(x, 0):x + w] = rng.integers(5)
    return np.float32([10, 60, 90, 160, 250])[label] + rng.normal(0, 3, size), label


def resized(rng, stretch, size=SIZE):
    """Rectangles drawn unstretched, then resized as a whole."""
    small = [round(n / s) for n, s in zip(size, stretch)]
    image, label = rectangles(rng, (1, 1), small)
    return cv2.resize(image, size[::-1]), cv2.resize(label, size[::-1],
                                                     interpolation=cv2.INTER_NEAREST)


def samples(texture, stretch, seed=0, count=8):
    rng = np.random.default_rng(seed)
    for i in range(count):
        image, label = texture(rng, stretch)
        yield str(i), image[..., None], label, 255


@pytest.mark.parametrize('factor', FACTORS)
@pytest.mark.parametrize('texture', [noise, blobs, rectangles, resized])
def test_a_known_stretch_is_found(texture, factor):
    for seed, stretch in enumerate([(factor, 1), (1, factor), (factor, 1)]):
        found = analyze(samples(texture, stretch, seed))
        expected = stretch[0] / stretch[1]
        assert found['stretch'] == pytest.approx(expected, rel=0.1)
        for part in ('image', 'label'):
            assert found[part]['stretch'] == pytest.approx(expected, rel=0.1)
        assert found['stretch_error'] < 0.1 * expected


def test_no_stretch_is_found_where_there_is_none():
    found = analyze(samples(blobs, (1, 1), seed=3))
    assert found['stretch'] == pytest.approx(1, abs=0.07)
    assert found['starting_scales'] == dict(image=pytest.approx((1, 1), abs=0.04))


def test_the_energy_of_a_sine_is_at_its_frequency():
    y, x = np.mgrid[:128, :160]
    image = (np.sin(2 * np.pi * y / 8) + 2 * np.sin(2 * np.pi * x / 40))[..., None] + 7
    height, width = (cumulative_energy(image.astype(np.float32), axis) for axis in (0, 1))
    # Of the energy 1 / 2 + 4 / 2, a fifth lies at 1/8 along the height, the rest at 0 there.
    assert np.interp([0.08, 0.16], FREQUENCIES, height) == pytest.approx([0.8, 1], abs=0.01)
    assert np.interp([0.01, 0.05], FREQUENCIES, width) == pytest.approx([0.2, 1], abs=0.02)


def test_energy_above_the_scales():
    y, x = np.mgrid[:128, :128]
    image = (np.sin(2 * np.pi * y / 6) + np.sin(2 * np.pi * x / 12)).astype(np.float32)[..., None]
    found = analyze([('sines', image, (x // 16 + y // 16) % 2, 255)])
    shares = {row['scale']: row['share'] for row in found['image']['energy_above']}
    # Half of the energy at 1/6 cycles per pixel in height: a scale of 1/2 holds up to 1/4, one
    # of 1/4 up to 1/8. In width, at 1/12, 1/4 holds it yet and 1/8 doesn't.
    assert shares[1 / 2] == pytest.approx([0, 0], abs=0.01)
    assert shares[1 / 4] == pytest.approx([0.5, 0], abs=0.01)
    assert shares[1 / 8] == pytest.approx([0.5, 0.5], abs=0.01)
    assert found['image']['scale_keeping_95'] == pytest.approx([2 / 6, 2 / 12], abs=0.03)
    assert found['stretch_error'] is None  # one image
    json.dumps(found, allow_nan=False)


def test_structure_function_against_pairs():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(40, 50, 3)).cumsum(0).astype(np.float32)
    label = rng.integers(0, 3, (40, 50)).repeat(2, 0)
    for array, differ in ((image, lambda a, b: ((a - b)**2).sum(-1).mean()),
                          (label, lambda a, b: (a != b).mean())):
        flat = array.reshape(-1, *array.shape[2:])
        every = np.mean([differ(flat, np.broadcast_to(pixel, flat.shape)) for pixel in flat[::7]])
        for axis in (0, 1):
            lines = array.swapaxes(0, axis)
            known = [lag for lag in LAGS if lag <= len(lines) // 2]
            expected = [differ(lines[lag:], lines[:-lag]) / every for lag in known]
            found = structure_function(array, axis)
            assert found[:len(known)] == pytest.approx(np.array(expected), rel=0.03)
            assert np.isnan(found[len(known):]).all()


def test_boundaries_and_ignored_pixels():
    label = np.zeros((64, 60), int)
    label[16:32] = 1
    label[32:] = 2
    assert boundary_density(label, 0) == pytest.approx(2 / 63)
    assert boundary_density(label, 1) == 0
    outlined = label.copy()
    outlined[14:18] = outlined[31:33] = 255  # half of each on either side
    assert np.array_equal(fill_ignored(outlined, 255), label)
    assert np.array_equal(fill_ignored(np.full((40, 40), 255), 255), np.full((40, 40), 255))


@pytest.mark.parametrize('stretch', [1, 1.5, 3, 1 / 3, 8, 1 / 8])
def test_starting_scales_undo_the_stretch_at_no_cost(stretch):
    scales = starting_scales(stretch)
    assert list(scales) == ['stream1', 'stream2', 'stream3']
    assert np.prod([w / h for h, w in scales.values()]) == pytest.approx(stretch, rel=0.01)
    for pair in scales.values():
        assert np.prod(pair) == pytest.approx(0.25, rel=0.01)
        assert min(pair) >= 0.125 and max(pair) <= 1
    if 1 / 4 <= stretch <= 4:
        assert scales['stream2'] == scales['stream3'] == (0.5, 0.5)


@pytest.mark.parametrize('stretch', [1, 3, 1 / 3, 100])
@pytest.mark.parametrize('bounds', [(0.25, 4.0), (0.25, 1.0), (0.5, 1.2)])
def test_the_images_scale_undoes_the_stretch_inside_its_bounds(stretch, bounds):
    height, width = image_scale(stretch, bounds)
    assert bounds[0] <= min(height, width) and max(height, width) <= bounds[1]
    if stretch**0.5 <= min(bounds[1], 1 / bounds[0]) >= stretch**-0.5:
        assert height * width == pytest.approx(1, abs=0.002)
    if max(stretch, 1 / stretch) <= bounds[1] / bounds[0]:
        assert width / height == pytest.approx(stretch, rel=0.005)


def test_bad_values_are_refused():
    image = np.random.default_rng(0).normal(size=(64, 64, 1))
    flat = np.zeros((64, 64), int)
    with pytest.raises(ValueError, match='no images to analyze'):
        analyze([])
    with pytest.raises(ValueError, match=r'tiny.png is 20 x 64 pixels .* 32 pixels or more'):
        analyze([('tiny.png', image[:20], flat[:20], 255)])
    with pytest.raises(ValueError, match='nothing varies'):
        analyze([('flat', 0 * image, flat, 255)])
    with pytest.raises(ValueError, match='along one axis alone'):
        analyze([('stripes', 0 * image + np.arange(64)[:, None, None], flat, 255)])
    with pytest.raises(ValueError, match='must have one size'):
        analyze([('cut', image, flat[:50], 255)])
    with pytest.raises(ValueError, match='stretch must be positive and finite, got 0'):
        starting_scales(0)
    with pytest.raises(ValueError, match='stretch must be positive and finite, got inf'):
        image_scale(float('inf'))
    with pytest.raises(ValueError, match='bounds'):
        starting_scales(2, bounds=(0.6, 1))
    assert analyze([('unlabeled', image, flat + 255, 255)])['label'] is None


def config(root, **options):
    return ConfigDict(
        type='CityscapesDataset', data_root=str(root),
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                  dict(type='RandomCrop', crop_size=(8, 8)), dict(type='PackSegInputs')], **options)


def test_samples_are_whole_and_evenly_spread(cityscapes):
    one = config(cityscapes)
    both = ConfigDict(type='ConcatDataset', datasets=[one, dict(
        type='RepeatDataset', times=3, dataset=config(cityscapes, indices=3))])
    names = [name[-24:-21] for name, *_ in read_samples(both, 100)]
    assert len(names) == 4 + 3
    found = list(read_samples(both, 3))
    assert [name.rpartition('/')[2][:11] for name, *_ in found] == [
        'town_000000', 'town_000003', 'town_000002']
    for name, image, label, ignored in found:
        assert np.array_equal(image, cv2.imread(name))
        assert label.shape == image.shape[:2] == (80, 144) and ignored == 255
    with pytest.raises(ValueError, match='images must be at least 1, got 0'):
        list(read_samples(one, 0))
    with pytest.raises(ValueError, match=r"loads no label maps, got .*PackSegInputs"):
        list(read_samples(ConfigDict(one, pipeline=one.pipeline[3:]), 1))


def test_an_empty_data_set_is_named(tmp_path):
    for folder in ('leftImg8bit/val', 'gtFine/val'):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"the data set is empty: no '_leftImg8bit\.png' files in"):
        list(read_samples(config(tmp_path), 5))
