"""Checkpoints: read once, verified, loaded; weights without pickle."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .checkpoint import Checkpoint
from .load import load_network
from .runner import Runner
from .safetensors import load_from_safetensors, save_safetensors

__all__ = ['Checkpoint', 'Runner', 'load_from_safetensors', 'load_network', 'save_safetensors']
