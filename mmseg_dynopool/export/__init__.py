"""Trained networks on their way out: fixed scales, other runtimes."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .freeze import freeze_config
from .frozen_files import freeze_checkpoint
from .onnx_segmentor import OnnxSegmentor
from .programs import InferenceNetwork, export_program

__all__ = [
    'InferenceNetwork', 'OnnxSegmentor', 'export_program', 'freeze_checkpoint', 'freeze_config'
]
