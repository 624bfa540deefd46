"""Runs in an environment of its own, which has mmpretrain; elsewhere its tests are skipped."""

from support.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before mmcv, mmengine or mmpretrain import torchvision
