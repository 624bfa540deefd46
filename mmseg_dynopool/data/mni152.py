"""Version 0.3's path of the data set."""

from .datasets import MNI152TissueDataset

__all__ = ['MNI152TissueDataset']
