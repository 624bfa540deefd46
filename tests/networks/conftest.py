"""Runs in an environment of its own (`make test-networks`); elsewhere its tests are skipped."""

from support.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before mmcv, mmengine or timm import torchvision
