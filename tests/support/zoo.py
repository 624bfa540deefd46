"""Networks that people use, small members of their families, with random weights.

Each table maps a name to a function without arguments that builds the network in eval mode.
Libraries are imported by the builders: the file itself needs none of them.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from torch import nn

# BEiT and MAE take images of the size that they are built for, and no others.
FIXED_SIZE = (704, 832)
BN = dict(type='BN', requires_grad=True)
LN = dict(type='LN', eps=1e-6)

Builder = Callable[[], nn.Module]


def evaluating(network: nn.Module) -> nn.Module:
    network.eval()  # returns None in OpenMMLab's networks
    return network


def builder(module: str, name: str, *args, **kwargs) -> Builder:
    """Import ``module``, call its ``name`` with the arguments, and switch to eval mode."""
    return lambda: evaluating(getattr(import_module(module), name)(*args, **kwargs))


def backbone(name: str, norm_cfg=BN, **config) -> Builder:
    """One of mmseg's backbones, whose configs say SyncBN where one process takes BN."""

    def build() -> nn.Module:
        from mmseg.registry import MODELS
        return evaluating(MODELS.build(
            dict(type=name, _scope_='mmseg', norm_cfg=norm_cfg, **config)))

    build.kind = name
    return build


def resnet(name: str, depth: int, dilated: bool = False, **config) -> Builder:
    """Stride 32, or the stride 8 of DeepLabV3+ and its kin."""
    return backbone(name, depth=depth, **dilations(dilated), style='pytorch', **config)


def dilations(dilated: bool) -> dict:
    if dilated:
        return dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True)
    return dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))


def hrnet(width: int) -> Builder:
    channels = [width * 2**i for i in range(4)]
    extra = dict(stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(4, ),
                             num_channels=(64, )))
    for i, modules in ((2, 1), (3, 4), (4, 3)):
        extra[f'stage{i}'] = dict(num_modules=modules, num_branches=i, block='BASIC',
                                  num_blocks=(4, ) * i, num_channels=tuple(channels[:i]))
    return backbone('HRNet', extra=extra)


STDC1 = dict(stdc_type='STDCNet1', in_channels=3, channels=(32, 64, 256, 512, 1024),
             bottleneck_type='cat', num_convs=4, norm_cfg=BN, act_cfg=dict(type='ReLU'))
# BEiT's and MAE's configs know no smaller one than "base", of 12 layers with 768 channels.
SMALL = dict(img_size=FIXED_SIZE, embed_dims=48, num_layers=4, num_heads=3,
             out_indices=(0, 1, 2, 3), init_values=0.1, norm_cfg=LN)

HRNET = {'HRNet-W18': hrnet(18), 'HRNet-W48': hrnet(48)}

# Every backbone that mmseg registers, with the arguments of its configs.
MMSEG = {
    'BEiT': backbone('BEiT', **SMALL),
    'BiSeNetV1-R18': backbone('BiSeNetV1', backbone_cfg=dict(
        type='ResNet', depth=18, norm_cfg=BN, **dilations(False))),
    'BiSeNetV2': backbone('BiSeNetV2'),
    'CGNet': backbone('CGNet'),
    'DDRNet-23-slim': backbone('DDRNet', channels=32, ppm_channels=128),
    'ERFNet': backbone('ERFNet'),
    'FastSCNN': backbone('FastSCNN'),
    **HRNET,
    'ICNet-R50': backbone('ICNet', backbone_cfg=dict(
        type='ResNetV1c', depth=50, norm_cfg=BN, **dilations(True))),
    'MAE': backbone('MAE', **SMALL),
    'MiT-B0 (SegFormer)': backbone(
        'MixVisionTransformer', norm_cfg=LN, embed_dims=32, num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8]),
    'MobileNetV2': backbone('MobileNetV2'),
    'MobileNetV2-D8': backbone('MobileNetV2', strides=(1, 2, 2, 1, 1, 1, 1),
                               dilations=(1, 1, 1, 2, 2, 4, 4)),
    'MobileNetV3-large': backbone('MobileNetV3', arch='large', out_indices=(1, 3, 16)),
    'MobileNetV3-small': backbone('MobileNetV3', arch='small', out_indices=(0, 1, 12)),
    'MSCAN-T (SegNeXt)': backbone('MSCAN', embed_dims=[32, 64, 160, 256], mlp_ratios=[8, 8, 4, 4],
                                  depths=[3, 3, 5, 2]),
    'PIDNet-S': backbone('PIDNet', channels=32),
    'ResNeSt-50': resnet('ResNeSt', 50, stem_channels=64, radix=2, reduction_factor=4,
                         avg_down_stride=True),
    'ResNet-18': resnet('ResNet', 18),
    'ResNet-50': resnet('ResNet', 50),
    'ResNetV1c-50': resnet('ResNetV1c', 50),
    'ResNetV1c-50-D8 (DeepLabV3+)': resnet('ResNetV1c', 50, dilated=True),
    'ResNetV1d-50': resnet('ResNetV1d', 50),
    'ResNeXt-50': resnet('ResNeXt', 50, groups=32, base_width=4),
    'STDCContextPathNet': backbone(
        'STDCContextPathNet', backbone_cfg=dict(STDC1, type='STDCNet'),
        ffm_cfg=dict(in_channels=384, out_channels=256, scale_factor=4)),
    'STDCNet1': backbone('STDCNet', **STDC1),
    'Swin-T': backbone('SwinTransformer', norm_cfg=dict(type='LN')),
    'Twins-PCPVT-S': backbone(
        'PCPVT', norm_cfg=dict(type='LN'), embed_dims=[64, 128, 320, 512], num_heads=[1, 2, 5, 8],
        mlp_ratios=[8, 8, 4, 4], qkv_bias=True),
    'Twins-SVT-S': backbone(
        'SVT', norm_cfg=dict(type='LN'), embed_dims=[64, 128, 256, 512], num_heads=[2, 4, 8, 16],
        mlp_ratios=[4, 4, 4, 4], depths=[2, 2, 10, 4], sr_ratios=[8, 4, 2, 1],
        patch_sizes=[4, 2, 2, 2], strides=[4, 2, 2, 2], windiow_sizes=[7, 7, 7, 7],
        norm_after_stage=True),
    'UNet (InterpConv)': backbone('UNet', upsample_cfg=dict(type='InterpConv')),
    'UNet (DeconvModule)': backbone('UNet', upsample_cfg=dict(type='DeconvModule')),
    'ViT-S': backbone('VisionTransformer', norm_cfg=LN, img_size=(512, 512), embed_dims=384,
                      num_heads=6, out_indices=(2, 5, 8, 11)),  # DeiT's small one
}
NEEDS = {'VPD': "needs the package ldm (Stable Diffusion) and its weights"}
if find_spec('timm') is None:
    NEEDS['TIMMBackbone'] = 'needs the package timm'
else:
    MMSEG['TIMMBackbone (resnet18)'] = builder(
        'mmseg.models.backbones', 'TIMMBackbone', 'resnet18', pretrained=False)
    MMSEG['TIMMBackbone (resnet18)'].kind = 'TIMMBackbone'

MMCV = {
    'AlexNet': builder('mmcv.cnn', 'AlexNet'),
    'ResNet-18': builder('mmcv.cnn', 'ResNet', 18),
    'ResNet-50': builder('mmcv.cnn', 'ResNet', 50),
    'VGG-16': builder('mmcv.cnn', 'VGG', 16),
    'VGG-16-BN': builder('mmcv.cnn', 'VGG', 16, with_bn=True),
}


def torchvision(name: str, **options) -> Builder:
    return builder('torchvision.models', name, weights=None, **options)


def timm(name: str, **options) -> Builder:
    return builder('timm', 'create_model', name, pretrained=False, **options)


def smp(name: str, encoder: str = 'resnet34') -> Builder:
    return builder('segmentation_models_pytorch', name, encoder, encoder_weights=None, classes=5)


# What people bring along from outside OpenMMLab.
EXTERNAL = {
    'torchvision VGG-16': torchvision('vgg16'),
    'torchvision ResNet-18': torchvision('resnet18'),
    'torchvision ResNet-50': torchvision('resnet50'),
    'torchvision MobileNetV2': torchvision('mobilenet_v2'),
    'torchvision EfficientNet-B0': torchvision('efficientnet_b0'),
    'torchvision ConvNeXt-T': torchvision('convnext_tiny'),
    'torchvision DenseNet-121': torchvision('densenet121'),
    'torchvision InceptionV3': torchvision('inception_v3', init_weights=False),
    'torchvision Swin-T': torchvision('swin_t'),
    'timm VGG-16': timm('vgg16'),
    'timm ResNet-18': timm('resnet18'),
    'timm ResNet-50': timm('resnet50'),
    'timm MobileNetV2': timm('mobilenetv2_100'),
    'timm EfficientNet-B0': timm('efficientnet_b0'),
    'timm ConvNeXt-T': timm('convnext_tiny'),
    'timm DenseNet-121': timm('densenet121'),
    'timm InceptionV3': timm('inception_v3'),
    'timm Swin-T': timm('swin_tiny_patch4_window7_224', strict_img_size=False),
    'smp Unet': smp('Unet'),
    'smp Unet MobileNetV2': smp('Unet', 'mobilenet_v2'),
    'smp FPN': smp('FPN'),
    'smp DeepLabV3Plus': smp('DeepLabV3Plus'),
    'smp Linknet': smp('Linknet'),
    # Nobody named these.
    'timm EfficientNet-B0 SAME': timm('tf_efficientnet_b0'),
    'timm EfficientNetV2-S': timm('tf_efficientnetv2_s'),
    'timm HRNet-W18': timm('hrnet_w18'),
    'timm MobileNetV3-large': timm('mobilenetv3_large_100'),
    'timm RegNetY-400MF': timm('regnety_004'),
    'timm ResNeSt-50': timm('resnest50d'),
    'timm ResNet-34 features': timm('resnet34', features_only=True),
    'timm ResNet-50-D': timm('resnet50d'),
    'timm ViT-S': timm('vit_small_patch16_224', dynamic_img_size=True),
}
