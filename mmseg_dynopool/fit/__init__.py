"""A trained network at a wanted cost: measured, searched, fine-tuned, written."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .fitting import Fitting, FittingOptions
from .settings import fine_tuning_config, resized_config

__all__ = ['Fitting', 'FittingOptions', 'fine_tuning_config', 'resized_config']
