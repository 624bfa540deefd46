"""Data sets of our own."""

from .mni152 import MNI152TissueDataset

__all__ = ['MNI152TissueDataset']
