"""Version 0.3's path of the data set."""

from .datasets import FashionScenesDataset

__all__ = ['FashionScenesDataset']
