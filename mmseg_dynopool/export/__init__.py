"""Trained networks on their way out: fixed scales, other runtimes."""

from .freeze import freeze_config, freeze_pools, frozen_state, plain_segmentor
from .network import InferenceNetwork
from .onnx_segmentor import OnnxSegmentor
from .programs import FORMATS, export_program

__all__ = [
    'FORMATS', 'InferenceNetwork', 'OnnxSegmentor', 'export_program', 'freeze_config',
    'freeze_pools', 'frozen_state', 'plain_segmentor'
]
