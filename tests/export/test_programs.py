"""ONNX and torch.export files: ordinary, and proven before they are written."""

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS

from mmseg_dynopool.export import InferenceNetwork, OnnxSegmentor, export_program
from mmseg_dynopool.export.programs import FORMATS
from mmseg_dynopool.ops import image_resize2d
from support.networks import learned
from support.toys import (
    LAST_STAGE,
    ONE_STAGE,
    TWO_STREAMS,
    W48,
    converted_config,
    hrnet_extra,
    segmentor_config,
)

SMALL = dict(channels=TWO_STREAMS, modules=ONE_STAGE)
META = dict(classes=('road', 'tree', 'sky'), palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])


def run_file(path, image):
    if path.suffix == '.pt2':
        return torch.export.load(path).module()(image)
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return torch.from_numpy(session.run(None, {'image': image.numpy()})[0])


def compare(path, model, *shapes):
    """A file and the network that it was made of, on random images of these shapes."""
    for shape in shapes:
        image = torch.randn(*shape)
        with torch.no_grad():
            expected = InferenceNetwork(model)(image)
            assert expected.shape[2:] == image.shape[2:]
            torch.testing.assert_close(run_file(path, image), expected, rtol=1e-4, atol=1e-4)


def check_operators(path):
    graph = onnx.load(path).graph
    assert {node.domain for node in graph.node} == {''}
    assert {'Resize', 'MaxPool'} <= {node.op_type for node in graph.node}


# Open sizes take the compiler seconds per DynOPool, hence two streams; four are in tests/tools.
@pytest.mark.parametrize('format, options', [
    ('onnx', dict(cascade=True, **SMALL)),
    ('torch-export', dict(stem=True, modules=LAST_STAGE))])
def test_a_file_of_one_size_computes_what_the_network_does(tmp_path, format, options):
    model = learned(3, highest=3.2, **options)
    path = tmp_path / f'net{FORMATS[format]}'
    row, = export_program(model, path, (160, 224), format)
    assert row['shape'] == (1, 3, 160, 224)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    compare(path, model, (1, 3, 160, 224))
    if format == 'onnx':
        check_operators(path)


# None of them is tried by the tool itself.
OPEN_SHAPES = (3, 3, 231, 297), (1, 3, 177, 402)


def test_a_torch_export_file_of_open_sizes_computes_what_the_network_does(tmp_path):
    model = learned(3, highest=3.2, **SMALL)
    rows = export_program(model, tmp_path / 'net.pt2', (160, 224), 'torch-export', dynamic=True)
    assert [row['shape'] for row in rows] == [
        (1, 3, 160, 224), (2, 3, 177, 258), (1, 3, 161, 447), (1, 3, 224, 160)]
    assert [p.name for p in tmp_path.iterdir()] == ['net.pt2']
    compare(tmp_path / 'net.pt2', model, *OPEN_SHAPES)


def test_an_onnx_file_of_open_sizes_computes_what_the_network_does(network):
    model = learned_with_stem()
    model.load_state_dict(torch.load(network / 'net.pth', weights_only=True)['state_dict'])
    compare(network / 'any.onnx', model, *OPEN_SHAPES)
    check_operators(network / 'any.onnx')


def test_widths_and_scales_of_w48(tmp_path):
    cfg = segmentor_config(channels=W48, scale=dict(stream1=(0.4, 0.61), stream3=0.7))
    cfg['backbone']['extra'] = hrnet_extra(W48, modules=LAST_STAGE)
    model = MODELS.build(cfg)
    model.eval()
    row, = export_program(model, tmp_path / 'net.onnx', (64, 96), 'onnx')
    assert row['max_difference'] <= 1e-4 * row['max_logit']
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = InferenceNetwork(model)(image)
    assert expected.std() > 100 * row['max_difference']
    torch.testing.assert_close(run_file(tmp_path / 'net.onnx', image), expected, rtol=1e-4,
                               atol=1e-5)


def test_an_example_that_is_too_small_for_open_sizes_is_named(tmp_path):
    model = MODELS.build(segmentor_config(scale=0.25, **SMALL))
    model.eval()
    with pytest.raises(ValueError, match='larger example than 16 x 16'):
        export_program(model, tmp_path / 'net.pt2', (16, 16), 'torch-export', dynamic=True)
    assert list(tmp_path.iterdir()) == []


class Noise(torch.nn.Module):
    """Something that no export can repeat."""

    def forward(self, x):
        return x + torch.rand_like(x)


@pytest.mark.parametrize('format', FORMATS)
def test_a_file_that_differs_is_not_written(tmp_path, format):
    model = learned(**SMALL)
    model.backbone.relu = Noise()
    with pytest.raises(ValueError, match=r'differs from PyTorch.*nothing was written'):
        export_program(model, tmp_path / f'net{FORMATS[format]}', (64, 96), format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('options, words', [
    (dict(format='tflite'), ["'tflite'", 'onnx']),
    (dict(shape=(64, )), ['(64,)']),
    (dict(shape=(0, 64)), ['(0, 64)']),
    (dict(shape=('64', 64)), ["('64', 64)"]),
    (dict(shape=64), ['64']),
    (dict(path='net.pt2'), ["'.onnx'", "'net.pt2'"]),
])
def test_bad_options_are_named(tmp_path, options, words):
    with pytest.raises(ValueError) as error:
        export_program(**dict(model=learned(), path=tmp_path / 'x.onnx', shape=(64, 96)) | options)
    for word in words:
        assert word in str(error.value)


def config(slide=False, model=None):
    model = model or segmentor_config(stem=True, **SMALL)
    if slide:
        model['test_cfg'] = dict(mode='slide', crop_size=(64, 96), stride=(40, 60))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return Config(dict(model=model, test_pipeline=pipeline,
                       test_dataloader=dict(dataset=dict(pipeline=pipeline))))


def learned_with_stem():
    return learned(5, highest=3.2, stem=True, **SMALL)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A checkpoint and ONNX files of one network."""
    folder = tmp_path_factory.mktemp('network')
    model = learned_with_stem()
    model.dataset_meta = META
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=META)),
               folder / 'net.pth')
    export_program(model, folder / 'any.onnx', (64, 96), dynamic=True)
    export_program(model, folder / 'fixed.onnx', (64, 96))
    return folder


@pytest.mark.parametrize('slide', [False, True])
def test_inference_of_mmseg_on_an_onnx_file(network, slide):
    image = np.random.default_rng(0).integers(0, 256, (90, 133, 3), np.uint8)
    image = cv2.blur(image, (9, 9))
    model = init_model(config(slide), str(network / 'net.pth'), device='cpu')
    expected = inference_model(model, image)
    onnx_model = OnnxSegmentor(network / ('fixed.onnx' if slide else 'any.onnx'), config(slide))
    assert onnx_model.dataset_meta == dict(META, classes=list(META['classes']))
    found = inference_model(onnx_model, image)
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=1e-3,
                               atol=1e-4)
    assert len(expected.pred_sem_seg.data.unique()) > 1
    agree = (found.pred_sem_seg.data == expected.pred_sem_seg.data).float().mean()
    assert agree > 0.999


def test_another_size_than_the_file_takes(network):
    model = OnnxSegmentor(network / 'fixed.onnx', config())
    with pytest.raises(ValueError, match=r'one image of 64 x 96, got 1 of 90 x 133.*--dynamic'):
        inference_model(model, np.zeros((90, 133, 3), np.uint8))


def test_files_of_others_are_refused(network, tmp_path):
    (tmp_path / 'cut.onnx').write_bytes((network / 'any.onnx').read_bytes()[:5000])
    with pytest.raises(ValueError, match='cannot be read as an ONNX file'):
        OnnxSegmentor(tmp_path / 'cut.onnx', config())
    program = onnx.load(network / 'any.onnx')
    del program.metadata_props[:]
    onnx.save(program, tmp_path / 'other.onnx')
    with pytest.raises(ValueError, match=r'was not written by tools/export\.py'):
        OnnxSegmentor(tmp_path / 'other.onnx', config())


def test_a_converted_network_of_open_sizes(tmp_path):
    """UNet, which takes multiples of its total stride alone."""
    model = learned(2, highest=3.2, make=converted_config, kind='UNet')
    rows = export_program(model, tmp_path / 'net.onnx', (32, 48), dynamic=True)
    assert [row['shape'] for row in rows] == [
        (1, 3, 32, 48), (2, 3, 64, 48), (1, 3, 32, 96), (1, 3, 48, 32)]
    compare(tmp_path / 'net.onnx', model, (3, 3, 36, 140), (1, 3, 76, 20))
    check_operators(tmp_path / 'net.onnx')


def test_a_converted_network_of_one_size(tmp_path):
    model = learned(3, highest=3.2, make=converted_config, kind='ResNet7', rule='after')
    export_program(model, tmp_path / 'net.pt2', (65, 97), 'torch-export')
    compare(tmp_path / 'net.pt2', model, (1, 3, 65, 97))


@pytest.mark.parametrize('format', FORMATS)
def test_a_stock_hrnet_of_open_sizes(tmp_path, format):
    """As behind the image's size that fit found; mmseg's Upsample is bound to one size."""
    cfg = segmentor_config(**SMALL)
    cfg['backbone'] = dict(type='HRNet', extra=cfg['backbone']['extra'])
    model = MODELS.build(cfg | dict(type='EncoderDecoder')).eval()
    path = tmp_path / f'net{FORMATS[format]}'
    export_program(model, path, (64, 64), format, dynamic=True)
    for shape in ((1, 3, 96, 80), (2, 3, 65, 131)):
        image = torch.randn(*shape)
        size = dict(img_shape=shape[2:], pad_shape=shape[2:])
        with torch.no_grad():
            expected = model.encode_decode(image, [size])
        torch.testing.assert_close(run_file(path, image), expected, rtol=1e-4, atol=1e-4)


def test_the_image_level_of_open_sizes(tmp_path):
    """Its resize is an ordinary operator, and sizes are aligned in the file, too."""
    cfg = segmentor_config(image=True, scale=dict(image=(0.7, 0.8)), **SMALL)
    model = MODELS.build(cfg)
    model.eval()
    export_program(model, tmp_path / 'net.onnx', (160, 224), 'onnx', dynamic=True)
    compare(tmp_path / 'net.onnx', model, *OPEN_SHAPES)
    check_operators(tmp_path / 'net.onnx')


@pytest.mark.parametrize('format, dynamic, make, options', [
    ('torch-export', False, segmentor_config, dict(image=True, **SMALL)),
    ('onnx', True, converted_config, dict(kind='UNet', image=True)),
    ('onnx', False, converted_config, dict(kind='ResNet7', levels='image'))])
def test_a_program_that_takes_resized_images(tmp_path, format, dynamic, make, options):
    model = learned(3, 1.9, make, **options)
    path, level = tmp_path / f'net{FORMATS[format]}', model.backbone.dynopools['image']

    def logits(image, size):
        with torch.no_grad():
            return model.encode_decode(image, [dict(img_shape=size)])

    images = [torch.randn(1, 3, 96, 160), torch.randn(3, 3, 131, 178)]
    model.decode_head.conv_seg.bias.data -= logits(images[0], (96, 160)).mean((0, 2, 3))
    row = export_program(model, path, (96, 160), format, dynamic, resized_input=True)[0]
    assert row['image'] == (1, 3, 96, 160)
    assert row['shape'] == (1, 3, *level.output_size((96, 160))) != row['image']
    for image in images if dynamic else images[:1]:
        resized = image_resize2d(image, level.alpha, level.multiple)
        expected = logits(image, resized.shape[2:])  # of the size of what the program takes
        torch.testing.assert_close(run_file(path, resized), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.02
    if format == 'torch-export':
        return
    segmentor = OnnxSegmentor(path, config(model=make(**options)))
    found, own = segmentor.encode_decode(image, [{}]), logits(image, image.shape[2:])
    torch.testing.assert_close(found, torch.nn.functional.interpolate(
        expected, image.shape[2:], mode='bilinear'), rtol=1e-4, atol=1e-4)
    # The network's own logits are resized once.
    assert (found - own).abs().mean() < 0.1 * own.std()
    assert (found.argmax(1) == own.argmax(1)).float().mean() > 0.95
    assert len(own.argmax(1).unique()) == 3
    if not dynamic:
        with pytest.raises(ValueError, match='one image of 96 x 160, got 1 of 64 x 160'):
            segmentor.encode_decode(image[:, :, :64], [{}])


def test_what_resizes_no_image_has_no_program_for_resized_ones(tmp_path):
    with pytest.raises(ValueError, match='DynOPoolEncoderDecoder does this at 0 places'):
        export_program(learned(**SMALL), tmp_path / 'net.onnx', (64, 96), resized_input=True)
