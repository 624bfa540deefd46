"""Networks that several test modules look at."""

import cv2
import torch
from mmseg.apis import init_model
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, learned_pools
from support.toys import fcn_head, segmentor_config, w48_extra


def learned(seed=0, highest=4.9, make=segmentor_config, **options):
    """A network whose alphas are where training could have left them, some beyond a bound."""
    torch.manual_seed(seed)
    model = MODELS.build(make(**options))
    with torch.no_grad():
        for pool in learned_pools(model).values():
            pool.alpha.copy_(0.9 + (highest - 0.9) * torch.rand(2))
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.running_mean)
    model.eval()
    return model


def scatter(config, path, image_folder, out):
    """Write the checkpoint ``path`` to ``out`` as if training for long had left it.

    The alphas leave 2, and the network, which has learned little, predicts many classes.
    """
    model = init_model(str(config), str(path), 'cpu')
    torch.manual_seed(1)
    for i, pool in enumerate(learned_pools(model).values()):
        pool.alpha.data.copy_(torch.tensor([2.7, 1.6]) + 0.01 * i)
    nn.init.normal_(model.decode_head.conv_seg.weight)
    nn.init.zeros_(model.decode_head.conv_seg.bias)
    images = [torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1)
              for path in sorted(image_folder.iterdir())]
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.momentum = 1.0
    model.train()
    with torch.no_grad():  # batch norm takes the statistics of these images
        model._forward(model.data_preprocessor(dict(inputs=images))['inputs'])
    checkpoint = torch.load(path, weights_only=False)
    torch.save(dict(checkpoint, state_dict=model.state_dict()), out)


def w48_fcn(stem=False):
    channels = (48, 96, 192, 384)
    return dict(
        type='DynOPoolEncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(type='DynOPoolHRNet', extra=w48_extra(), dynopool=dict(stem=stem)),
        decode_head=dict(fcn_head(channels, 19), channels=720), train_cfg={},
        test_cfg=dict(mode='whole'))


class Pooled(nn.Module):
    """A DynOPool with a convolution behind it, which holds it unregistered."""

    def __init__(self, scale, kernel=3, pool=DynOPool, **options):
        super().__init__()
        self.pool = pool(scale)
        self.conv = DynOPoolConv2d(self.pool, 3, 4, kernel, shared=True,
                                   padding=kernel // 2, **options)

    def forward(self, x):
        return self.conv(x)


def kaiming_segmentor(make=segmentor_config, **options):
    """A tiny segmentor whose gradients reach the image; options are those of its DynOPools."""
    built = MODELS.build(make(**options))
    for module in built.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    built.eval()
    return built


def kept_bytes(net, image):
    """What a training step keeps of its forward pass, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return None  # a kept output would hold its graph, which would never be freed

    net.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = net(image)
    del features
    return sum(storage.nbytes() for storage in kept.values())
