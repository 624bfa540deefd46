"""Sizes for a trained network: forward passes find the few that are worth a training."""

from .image_sizes import ImageSize, image_sizes
from .race import Race, Racer
from .search import SearchResult, search_sizes

__all__ = ['ImageSize', 'Race', 'Racer', 'SearchResult', 'image_sizes', 'search_sizes']
