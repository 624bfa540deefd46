"""Images are read whole or not at all; labels are painted on them."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmseg_dynopool.data.images import paint_labels, to_picture
from mmseg_dynopool.data.pipeline import ImagePipeline

LOADING = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


@pytest.fixture
def jpeg(picture):
    return cv2.imencode('.jpg', picture)[1].tobytes()


def read(folder, content):
    path = folder / 'image.jpg'
    path.write_bytes(content)
    return ImagePipeline(Config(dict(test_pipeline=LOADING)))(path)[0]


def test_a_transform_that_leaves_nothing_is_named(tmp_path, jpeg):
    (tmp_path / 'image.jpg').write_bytes(jpeg)
    steps = [LOADING[0], dict(type='RandomApply', transforms=[dropped], prob=1), LOADING[1]]
    with pytest.raises(ValueError, match=r'image\.jpg: RandomApply of the test pipeline leaves '
                       'nothing of it'):
        ImagePipeline(Config(dict(test_pipeline=steps)))(tmp_path / 'image.jpg')


def dropped(results):
    return None


def test_whole_jpegs_are_read_as_opencv_reads_them(tmp_path, jpeg):
    expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    start = jpeg.index(b'\xff\xda')  # of the pixels
    thumbnail = b'\xff\xe1' + (len(jpeg) + 2).to_bytes(2, 'big') + jpeg
    for content in (jpeg, jpeg + b'MOTION PHOTO',
                    # Any marker may follow bytes 0xFF that fill up (ITU-T T.81, B.1.1.2).
                    jpeg[:2] + b'\xff' + jpeg[2:], jpeg[:start] + b'\xff\xff\xff' + jpeg[start:],
                    jpeg[:2] + thumbnail + jpeg[2:]):
        assert np.array_equal(read(tmp_path, content), expected)


@pytest.mark.parametrize('missing', [1, 2, 3, 20, 300])
def test_a_jpeg_without_its_end_is_refused(tmp_path, jpeg, missing):
    thumbnail = b'\xff\xe1' + (len(jpeg) + 2).to_bytes(2, 'big') + jpeg
    filled = jpeg[:2] + b'\xff\xff' + jpeg[2:]
    for whole in (jpeg, jpeg[:2] + thumbnail + jpeg[2:], filled):
        with pytest.raises(ValueError, match=r'image\.jpg is cut off: a JPEG without its end'):
            read(tmp_path, whole[:-missing])


def test_a_jpeg_cut_in_its_header_is_refused(tmp_path, jpeg):
    for length in (2, 10, 21, 300):
        with pytest.raises(ValueError, match=r'is cut off|cannot be read as an image'):
            read(tmp_path, jpeg[:length])


def test_colors_are_blended_and_ignored_pixels_stay():
    image = np.full((1, 4, 3), (100, 50, 200), np.uint8)
    label, palette = np.array([[0, 1, 9, 255]]), [[0, 0, 0], [201, 50, 0]]
    painted = paint_labels(image, label, palette, 0.5, ignore_index=255)
    assert np.array_equal(paint_labels(image, label / 1.0, palette, 0.5, 255), painted)  # floats
    assert painted[0].tolist() == [[50, 25, 100], [150, 50, 100], [150, 50, 100], [100, 50, 200]]
    assert paint_labels(image, label, palette, 0.5)[0, 3].tolist() == [150, 50, 100]
    assert np.array_equal(paint_labels(image, label, palette, 0.0), image)
    assert paint_labels(image, label, palette, 1.0)[0, 1].tolist() == [201, 50, 0]
    assert paint_labels(image, label, palette, 0.27)[0, 1].tolist() == [127, 50, 146]  # 127.27
    assert paint_labels(image, label, palette, 0.25)[0, 0].tolist() == [75, 38, 150]  # 37.5


def test_any_array_becomes_a_picture():
    bands = np.random.default_rng(0).normal(3, 2, (40, 50, 12))
    shown = to_picture(bands)
    assert shown.shape == (40, 50, 3) and shown.dtype == np.uint8
    low, high = np.percentile(bands[..., :3], (2, 98))
    assert np.array_equal(shown, (255 * (bands[..., :3] - low) / (high - low)).clip(0, 255).round())
    deep = (bands[..., 0] * 1e3 + 2e4).astype(np.uint16)
    assert np.array_equal(to_picture(deep)[..., 2], to_picture(bands[..., :1] // 1e-3)[..., 0])
    whole = np.random.default_rng(0).integers(0, 256, (4, 5, 4))
    assert np.array_equal(to_picture(whole.astype(np.float32)), whole[..., :3])
    assert np.array_equal(to_picture(whole[..., :2].astype(np.uint8))[..., 2], whole[..., 0])
    assert to_picture(np.full((3, 4), np.nan)).tolist() == np.zeros((3, 4, 3)).tolist()
