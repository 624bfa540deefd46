"""Classifiers that learn their resolutions: what mmpretrain's registries get.

A config imports it by ``custom_imports = dict(imports=['mmseg_dynopool.classification'])``. Hooks,
samplers and the like, which mmseg's registries have from us, are then mmpretrain's, too.
"""

try:
    import mmpretrain.registry
except ImportError as error:
    raise ImportError(
        f'mmseg_dynopool.classification needs mmpretrain, which cannot be imported ({error}): pip '
        "install 'mmseg_dynopool[mmlab,classification]', with the torchvision of your torch"
    ) from error
import mmseg.registry

from .classifier import DynOPoolImageClassifier
from .distortions import EnlargeImage, StretchImage, TileImage
from .mobilenet_cifar import MobileNetV2CIFAR

__all__ = [
    'DynOPoolImageClassifier', 'EnlargeImage', 'MobileNetV2CIFAR', 'StretchImage', 'TileImage'
]


def _share_with_mmpretrain() -> None:
    for name in ('DATA_SAMPLERS', 'DATASETS', 'HOOKS', 'LOG_PROCESSORS', 'MODELS',
                 'OPTIM_WRAPPERS'):
        registry = getattr(mmpretrain.registry, name)
        for module in getattr(mmseg.registry, name).module_dict.values():
            if module.__module__.startswith('mmseg_dynopool.'):
                registry.register_module(module=module)


_share_with_mmpretrain()
