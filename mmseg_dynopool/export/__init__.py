"""Trained networks on their way out: fixed scales, other runtimes."""

from mmseg_dynopool.layers import freeze_pools

from .freeze import freeze_config, frozen_state, plain_model
from .frozen_files import WRITTEN, freeze_checkpoint
from .onnx_segmentor import OnnxSegmentor
from .programs import FORMATS, InferenceNetwork, export_program

__all__ = [
    'FORMATS', 'WRITTEN', 'InferenceNetwork', 'OnnxSegmentor', 'export_program',
    'freeze_checkpoint', 'freeze_config', 'freeze_pools', 'frozen_state', 'plain_model'
]
