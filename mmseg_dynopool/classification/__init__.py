"""Classifiers that learn their resolutions: what mmpretrain's registries get.

A config imports it by ``custom_imports = dict(imports=['mmseg_dynopool.classification'])``.
"""

try:
    import mmpretrain.registry  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'mmseg_dynopool.classification needs mmpretrain, which cannot be imported ({error}): pip '
        "install 'mmseg_dynopool[mmlab,classification]', with the torchvision of your torch"
    ) from error
from mmseg_dynopool.scopes import register_scoped_names

from .classifier import DynOPoolImageClassifier
from .distortions import EnlargeImage, StretchImage, TileImage
from .mobilenet_cifar import MobileNetV2CIFAR
from .narrow_vgg import NarrowVGG  # noqa: F401, a config names it

__all__ = [
    'DynOPoolImageClassifier', 'EnlargeImage', 'MobileNetV2CIFAR', 'StretchImage', 'TileImage'
]

register_scoped_names('mmpretrain')
