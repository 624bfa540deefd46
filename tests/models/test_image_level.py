"""The image's own size as the first level of segmentors."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS

from mmseg_dynopool import DynOPoolHRNet
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.layers import ImageResize
from support.networks import kept_bytes
from support.runs import Shapes, segmentor
from support.toys import ONE_STAGE, TWO_STREAMS, converted_config, fcn_head, hrnet_extra

SIZE = (65, 99)
AUXILIARY = dict(type='FCNHead', channels=4, num_convs=1, concat_input=False, num_classes=3,
                 dropout_ratio=-1, align_corners=False,
                 loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
SCALE = dict(image=(0.6, 0.8))


def config(kind='HRNet', image=True, **options):
    """A tiny segmentor with an auxiliary head; without the level, the stem stays strided, too."""
    if kind == 'HRNet':
        cfg = segmentor('BN', TWO_STREAMS, ONE_STAGE)
        cfg.backbone.dynopool = dict(image=image, **options)
        cfg.auxiliary_head = dict(AUXILIARY, in_channels=4, in_index=0)
    else:
        cfg = ConfigDict(converted_config(**options, **(
            dict(image=True) if image else dict(skip='stem.0'))))
        cfg.data_preprocessor.update(mean=[128.] * 3, std=[64.] * 3)
        cfg.auxiliary_head = dict(AUXILIARY, in_channels=32, in_index=2)
    return cfg


def build(*args, **options):
    torch.manual_seed(0)
    model = MODELS.build(config(*args, **options))
    model.eval()
    return model


def batch(model, count=1, training=False):
    items = Shapes(count, size=SIZE)
    return model.data_preprocessor(pseudo_collate(items[:count]), training)


def loss_and_gradients(model):
    model.train()
    model.zero_grad()
    losses = model(**batch(model, 2, training=True), mode='loss')
    model.parse_losses(losses)[0].backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


def resized(image, multiple):
    return ImageResize(SCALE['image'], multiple=multiple)(image)


@pytest.mark.parametrize('kind', ['HRNet', 'ResNet'])
def test_at_scale_one_losses_and_gradients_are_those_without_it(kind):
    plain, model = build(kind, image=False), build(kind)
    missing = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys == ['backbone.dynopools.image.alpha']
    expected, expected_gradients = loss_and_gradients(plain)
    losses, gradients = loss_and_gradients(model)
    assert {'decode.loss_ce', 'aux.loss_ce'} <= set(losses)
    assert all(torch.equal(losses[name], value) for name, value in expected.items())
    assert gradients.pop('backbone.dynopools.image.alpha').tolist() == [0.0, 0.0]
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert torch.equal(gradient, expected_gradients[name]), name


@pytest.mark.parametrize('kind', ['HRNet', 'ResNet'])
def test_heads_see_all_labels_and_logits_have_the_images_size(kind):
    model = build(kind, scale=SCALE)
    seen = []
    for head in (model.decode_head, model.auxiliary_head):
        head.loss_decode.register_forward_pre_hook(lambda loss, args: seen.append(args[:2]))
    loss_and_gradients(model)
    labels = torch.stack([item['data_samples'].gt_sem_seg.data[0]
                          for item in Shapes(2, size=SIZE)[:2]])
    for logits, target in seen:
        assert logits.shape == (2, 3, *SIZE) and torch.equal(target, labels)
    model.eval()
    data = batch(model)
    found, = model(**copy.deepcopy(data), mode='predict')
    multiple = model.backbone.dynopools['image'].multiple
    stock = build(kind, image=False)
    stock.load_state_dict(model.state_dict(), strict=False)
    expected = stock(resized(data['inputs'], multiple))
    expected = F.interpolate(expected, SIZE, mode='bilinear', align_corners=False)
    assert torch.equal(found.seg_logits.data, expected[0])


def test_features_keep_the_size_of_the_resized_image():
    """Its own, too, as UNet's last; what heads make of them is cheaper so."""
    model = MODELS.build(converted_config('UNet', image=True, scale=SCALE))
    model.eval()
    image = torch.rand(1, 3, 64, 96)
    assert list(model.backbone.dynopools) == ['image', 'stride2', 'stride4']
    assert [tuple(features.shape[2:]) for features in model.backbone(image)] == [
        (10, 19), (20, 38), (40, 76)]
    assert model(image).shape[2:] == (40, 76)


@torch.no_grad()
def test_sliding_windows():
    """Each window is an image of its own; they overlap, and are averaged."""
    model = build(scale=SCALE)
    model.test_cfg = ConfigDict(mode='slide', crop_size=(40, 60), stride=(25, 39))
    data = batch(model)
    found, = model(**copy.deepcopy(data), mode='predict')
    total, counts = torch.zeros(1, 3, *SIZE), torch.zeros(1, 3, *SIZE)
    for y in (0, 25):
        for x in (0, 39):
            window = model(data['inputs'][..., y:y + 40, x:x + 60])
            total[..., y:y + 40, x:x + 60] += F.interpolate(
                window, (40, 60), mode='bilinear', align_corners=False)
            counts[..., y:y + 40, x:x + 60] += 1
    torch.testing.assert_close(found.seg_logits.data, (total / counts)[0])


@torch.no_grad()
def test_flips_and_other_sizes_at_test_time():
    model = build(scale=SCALE)
    # Else it predicts one class.
    model.decode_head.conv_seg.bias -= model(batch(model)['inputs']).mean((0, 2, 3))
    item, = Shapes(1, size=SIZE)[:1]
    image = item['inputs']
    large = F.interpolate(image[None].float(), (97, 149), mode='bilinear')[0].byte()
    views, total = [], 0
    for view, flip in ((image, False), (image.flip(2), True), (large, False)):
        sample = copy.deepcopy(item['data_samples'])
        sample.set_metainfo(dict(img_shape=view.shape[1:], img_path='', flip=flip,
                                 flip_direction='horizontal' if flip else None))
        views.append(dict(inputs=[view], data_samples=[sample]))
        data = model.data_preprocessor(dict(inputs=[view], data_samples=[sample]), False)
        logits = model(data['inputs'])
        for size in (view.shape[1:], SIZE):
            logits = F.interpolate(logits, size, mode='bilinear', align_corners=False)
        total = total + (logits.flip(3) if flip else logits).softmax(1)
    found, = SegTTAModel(model).test_step({
        key: [view[key] for view in views] for key in ('inputs', 'data_samples')})
    labels = found.pred_sem_seg.data
    assert len(labels.unique()) > 1
    assert (labels == total.argmax(1)).float().mean() > 0.999


def test_copies_and_checkpoints_without_it(tmp_path):
    model = build(scale=SCALE)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(batch(model)['inputs']), model(batch(model)['inputs']))
        copied.backbone.dynopools['image'].set_alpha_([1.0, 1.0])
        assert model.backbone.feature_sizes(SIZE)['image'] == (40, 80)
    # Of a network without the level, which has learned its other scales.
    older = build(image=False, scale=0.4)
    torch.save(dict(state_dict=older.state_dict()), tmp_path / 'older.pth')
    loaded = load_network(Config(dict(model=config())), str(tmp_path / 'older.pth'), scales=True)
    assert {name: pool.scale.tolist() for name, pool in loaded.backbone.dynopools.items()} == dict(
        image=[1.0, 1.0], stream1=pytest.approx([0.4, 0.4]))
    # And one with it does not fit a network without: it would run at another size.
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'new.pth')
    with pytest.raises(ValueError, match=r'holds learned scales \(backbone.dynopools.image.alpha'):
        load_network(Config(dict(model=config(image=False))), str(tmp_path / 'new.pth'))


@pytest.mark.parametrize('kind', ['HRNet', 'ResNet'])
def test_mixed_precision(kind):
    model = build(kind, scale=SCALE)
    exact, _ = loss_and_gradients(model)
    with torch.autocast('cpu', torch.bfloat16):
        losses, gradients = loss_and_gradients(model)
    assert losses['decode.loss_ce'].item() == pytest.approx(exact['decode.loss_ce'].item(), rel=.02)
    assert losses['decode.loss_ce'] != exact['decode.loss_ce']
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients.values())


@pytest.mark.parametrize('scale, most', [((1, 1), 1.0), ((0.7, 0.7), 0.55), ((0.5, 1), 0.55)])
def test_training_keeps_no_more_than_without_it(scale, most):
    """Where the image does not grow; what a step keeps goes with the pixels."""
    extra, image = hrnet_extra((18, 36, 72, 144), modules=(1, 1, 3, 2)), torch.rand(2, 3, 64, 128)
    plain = kept_bytes(DynOPoolHRNet(extra), image)
    found = kept_bytes(DynOPoolHRNet(extra, dynopool=dict(
        image=True, scale=dict(image=scale))), image)
    assert scale[0] * scale[1] <= found / plain <= most


@pytest.mark.parametrize('size, sizes', [
    ((1, 1), [(4, 4), (1, 1), (1, 1)]), ((3, 5), [(4, 4), (1, 1), (1, 1)]),
    ((1, 90), [(4, 72), (1, 18), (1, 9)]), ((33, 66), [(20, 52), (5, 13), (3, 7)])])
def test_any_image_size(size, sizes):
    net = DynOPoolHRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE), dynopool=dict(image=True, scale=SCALE))
    net.eval()
    image, seen = torch.rand(1, 3, *size), []
    net.conv1.register_forward_pre_hook(lambda conv, args: seen.append(tuple(args[0].shape[2:])))
    seen += [tuple(y.shape[2:]) for y in net(image)]
    assert seen == sizes == list(net.feature_sizes(size).values())


def test_checkpointed_activations():
    models = [build(scale=SCALE) for _ in range(2)]
    for block in models[1].backbone.modules():
        if hasattr(block, 'with_cp'):
            block.with_cp = True
    (losses, gradients), (expected, others) = map(loss_and_gradients, models)
    assert losses['decode.loss_ce'] == expected['decode.loss_ce']
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name])


def test_a_frozen_stem_fixes_the_images_scale():
    """As a frozen stage does with the levels that it runs through."""
    options = dict(frozen_stages=0, dynopool=dict(image=True))
    with pytest.warns(UserWarning, match="DynOPoolHRNet: the image's scale does not learn"):
        net = DynOPoolHRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE), **options)
    net.train()
    assert {n: p.alpha.requires_grad for n, p in net.dynopools.items()} == dict(
        image=False, stream1=True)


SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, ) * 4, num_heads=(1, 2, 2, 4),
            window_size=3)
ICNET = dict(
    type='ICNet', layer_channels=(16, 64), light_branch_middle_channels=4, psp_out_channels=8,
    out_channels=(4, 8, 8), norm_cfg=dict(type='BN'), align_corners=False, backbone_cfg=dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), norm_cfg=dict(type='BN')))


@pytest.mark.parametrize('backbone, channels', [(SWIN, (8, 16, 32, 64)), (ICNET, (4, 8, 8))])
def test_the_image_alone_of_networks_that_conversion_refuses(backbone, channels):
    cfg = config('ResNet')
    model = MODELS.build(dict(cfg, backbone=backbone, decode_head=fcn_head(channels),
                              auxiliary_head=None, dynopool=dict(levels='image')))
    model.eval()
    image = torch.rand(1, 3, 64, 96)
    model.backbone.dynopools['image'].set_alpha_([1.8, 1.5])
    small = ImageResize((1 / 1.8, 1 / 1.5), multiple=32)(image)
    assert small.shape[2:] == (32, 64)
    stock = MODELS.build(backbone)
    stock.eval()
    stock.load_state_dict(model.backbone.state_dict(), strict=False)
    for found, expected in zip(model.backbone(image), stock(small), strict=True):
        assert torch.equal(found, expected)
    _, gradients = loss_and_gradients(model)
    assert gradients['backbone.dynopools.image.alpha'].tolist() == [0.0, 0.0]


def test_a_network_of_one_image_size_is_refused_by_name():
    cfg = dict(type='DynOPoolBackbone', dynopool=dict(levels='image'), backbone=dict(
        type='BEiT', img_size=SIZE, embed_dims=12, num_layers=1, num_heads=3, out_indices=[0],
        init_values=0.1))
    with pytest.raises(ValueError, match='BEiT does not run on an image of 704 x 832, so its size'):
        MODELS.build(cfg)
