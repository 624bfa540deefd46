"""Sizes for a trained network: forward passes find the few that are worth a training."""

from .race import Race
from .search import search_sizes

__all__ = ['Race', 'search_sizes']
