"""tools/infer.py reads images as the config's loader does, and labels them as the model does."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.segment import segment_images
from mmseg_dynopool.data.images import find_images
from mmseg_dynopool.data.pipeline import ImagePipeline
from mmseg_dynopool.export import OnnxSegmentor, export_program
from support.bands import ReadBands

META = dict(classes=('a', 'b', 'c'), palette=[[10, 20, 30], [200, 0, 0], [0, 0, 250]])


def config(loader, channels=3, kind='EncoderDecoder', **head):
    return Config(dict(
        default_scope='mmseg',
        model=dict(
            type=kind, data_preprocessor=dict(type='SegDataPreProcessor'),
            backbone=dict(type='ResNet', depth=18, in_channels=channels, base_channels=8),
            decode_head=dict(type='FCNHead', in_channels=64, channels=8, **head or dict(
                num_classes=3)),
            test_cfg=dict(mode='whole')),
        test_pipeline=[loader, dict(type='Resize', scale=(64, 48), keep_ratio=False),
                       dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))


def network(cfg, highest=255):
    """One that finds several classes in noise of values up to the highest."""
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = load_network(cfg, None)
    model.dataset_meta = META
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    channels = cfg.model.backbone.in_channels
    images = highest * torch.rand(4, channels, 48, 64)
    with torch.no_grad():
        model.train()(images, mode='tensor')
        logits = model.eval()(images, mode='tensor')
        model.decode_head.conv_seg.bias -= logits.mean((0, 2, 3))
    return model


def segment(model, image, out):
    """The label map and the overlay of an image."""
    assert list(segment_images(model, [image], out)) == [image]
    return [cv2.imread(str(out / folder / f'{image.stem}.png'), cv2.IMREAD_UNCHANGED)
            for folder in ('labels', 'overlays')]


def write(folder, name, channels, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 56, channels), dtype)
    assert cv2.imwrite(str(folder / name), pixels)
    return folder / name


@pytest.mark.parametrize('name, color, channels, dtype', [
    ('gray.png', 'grayscale', 1, np.uint8), ('clear.png', 'unchanged', 4, np.uint8),
    ('deep.png', 'unchanged', 3, np.uint16), ('deep.tif', 'unchanged', 1, np.uint16),
    ('bands.tif', 'unchanged', 4, np.uint16), ('gray.jpg', 'color', 1, np.uint8)])
def test_images_are_read_as_the_loader_says(tmp_path, name, color, channels, dtype):
    image = write(tmp_path, name, channels, dtype)
    model = network(config(dict(type='LoadImageFromFile', color_type=color, to_float32=True),
                           3 if color == 'color' else channels), np.iinfo(dtype).max)
    label, overlay = segment(model, image, tmp_path / 'out')
    expected = inference_model(model, str(image)).pred_sem_seg.data[0].numpy()
    assert np.array_equal(label, expected) and label.shape == (40, 56)
    assert len(np.unique(label)) > 1 and overlay.shape == (40, 56, 3)
    if dtype == np.uint8:
        shown = cv2.imread(str(image), cv2.IMREAD_COLOR)
        colors = np.array(META['palette'])[label][..., ::-1]
        assert np.abs(overlay - 0.5 * shown - 0.5 * colors).max() <= 1


def test_arrays_take_the_place_of_what_is_loaded(tmp_path):
    pixels = np.random.default_rng(0).normal(100, 40, (40, 56, 5)).astype(np.float32)
    np.save(tmp_path / 'a.npy', pixels)
    model = network(config(dict(type='LoadImageFromFile'), 5))
    label, _ = segment(model, tmp_path / 'a.npy', tmp_path / 'out')
    pipeline = copy.deepcopy(model.cfg.test_pipeline)
    assert np.array_equal(label, inference_model(model, pixels).pred_sem_seg.data[0])
    model.cfg.test_pipeline = pipeline  # mmseg has changed it
    (tmp_path / 'b.npy').write_bytes(b'no array')
    with pytest.raises(ValueError, match=r'b\.npy cannot be read as an array'):
        ImagePipeline(model.cfg)(tmp_path / 'b.npy')


def test_a_loader_of_ones_own_reads_its_files_itself(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(40, 56, 12)).astype(np.float32)
    np.save(tmp_path / 'a.npy', pixels)
    (tmp_path / '.hidden').touch()
    cfg = config(dict(type=ReadBands), 12)
    cfg.test_pipeline[2]['type'] = 'mmseg.datasets.transforms.LoadAnnotations'
    model = network(cfg, 1)
    assert find_images(tmp_path, ImagePipeline(cfg).suffixes) == [tmp_path / 'a.npy']
    label, overlay = segment(model, tmp_path / 'a.npy', tmp_path / 'out')
    resized = cv2.resize(pixels, (64, 48))
    with torch.no_grad():
        logits = model.encode_decode(torch.from_numpy(resized).permute(2, 0, 1)[None], [
            dict(img_shape=(48, 64), ori_shape=(40, 56), pad_shape=(48, 64))])
    wanted = torch.nn.functional.interpolate(logits, (40, 56), mode='bilinear').argmax(1)[0]
    assert np.array_equal(label, wanted) and len(np.unique(overlay)) > 50
    cfg.test_dataloader = dict(dataset=dict(type='support.bands.BandsDataset'))
    assert ImagePipeline(cfg).suffixes == ['.npy']  # by the data set's class
    (tmp_path / 'b.npy').write_bytes(b'no array')
    with pytest.raises(ValueError, match=r'b\.npy: ReadBands of the test pipeline fails'):
        ImagePipeline(cfg)(tmp_path / 'b.npy')


BINARY = dict(num_classes=2, out_channels=1, threshold=0.4)


@pytest.mark.parametrize('kind', ['EncoderDecoder', 'support.bands.Inverted'])
def test_a_head_with_one_channel_from_a_checkpoint_and_from_onnx(tmp_path, kind):
    """Also where the segmentor labels in its own way."""
    image = write(tmp_path, 'a.png', 3, np.uint8)
    model = network(config(dict(type='LoadImageFromFile'), kind=kind, **BINARY))
    model.dataset_meta = dict(classes=META['classes'][:2], palette=np.array(META['palette'][:2]))
    label, overlay = segment(model, image, tmp_path / 'out')
    result = inference_model(model, str(image))
    assert np.array_equal(label, result.pred_sem_seg.data[0])
    assert np.array_equal(label, result.seg_logits.data[0] > 0.4) and 0.02 < label.mean() < 0.98
    onnx = pytest.importorskip('onnx')
    export_program(model, tmp_path / 'net.onnx', (48, 64))
    program = OnnxSegmentor(tmp_path / 'net.onnx', model.cfg)
    found = segment(program, image, tmp_path / 'onnx')
    assert np.array_equal(found[0], label) and np.array_equal(found[1], overlay)
    entries = {e.key: e.value for e in onnx.load(tmp_path / 'net.onnx').metadata_props}
    meta = json.loads(entries['mmseg_dynopool'])
    assert meta['label'] == 'sigmoid > 0.4' and meta['in_channels'] == 3
    assert meta['dataset_meta'] == dict(classes=['a', 'b'], palette=META['palette'][:2])


def test_a_model_without_palette_and_one_without_label_maps(tmp_path):
    image = write(tmp_path, 'a.png', 3, np.uint8)
    model = network(config(dict(type='LoadImageFromFile')))
    model.dataset_meta = dict(classes=('a', 'b', 'c'), palette=None)
    label, overlay = segment(model, image, tmp_path / 'out')
    painted = 2 * overlay.astype(int) - cv2.imread(str(image))
    colors = [np.median(painted[label == k], axis=0).tolist() for k in np.unique(label)]
    assert len(colors) > 1 and len({tuple(color) for color in colors}) == len(colors)
    model.postprocess_result = lambda logits, samples: samples
    with pytest.raises(ValueError, match='gives no pred_sem_seg, which is to be written; it gives'):
        segment(model, image, tmp_path / 'out')
