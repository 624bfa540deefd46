"""Trained networks on their way out: fixed scales, weights without pickle, other runtimes."""

from .freeze import freeze_config, freeze_pools, frozen_state, plain_segmentor
from .network import InferenceNetwork
from .onnx_segmentor import OnnxSegmentor
from .programs import FORMATS, export_program
from .weights import load_from_safetensors, save_safetensors

__all__ = [
    'FORMATS', 'InferenceNetwork', 'OnnxSegmentor', 'export_program', 'freeze_config',
    'freeze_pools', 'frozen_state', 'load_from_safetensors', 'plain_segmentor',
    'save_safetensors'
]
