"""Data sets of our own, and samples that do not depend on what came before."""

from .mni152 import MNI152TissueDataset
from .seeded import SeededDataset, SeededSampler, combined_seed

__all__ = ['MNI152TissueDataset', 'SeededDataset', 'SeededSampler', 'combined_seed']
