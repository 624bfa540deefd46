"""Checkpoints: read once, verified, loaded; weights without pickle."""

from .checkpoint import SCALES, Checkpoint, read_pretrained
from .load import load_network
from .runner import Runner
from .safetensors import load_from_safetensors, save_safetensors

__all__ = [
    'SCALES', 'Checkpoint', 'Runner', 'load_from_safetensors', 'load_network',
    'read_pretrained', 'save_safetensors'
]
