"""mmengine hooks and what training, testing and inference need."""

from .checkpoints import check_checkpoint
from .cli import add_run_options, enable_amp, load_run_config
from .cpu_amp import CPUAmpOptimWrapper
from .data_check import check_data
from .devices import adapt_to_devices
from .dynopool_hook import DynOPoolHook
from .gmacs_report import describe_gmacs, watch_shapes
from .inference import draw_comparison, find_images, segment_images
from .load import load_segmentor, read_config

__all__ = [
    'CPUAmpOptimWrapper', 'DynOPoolHook', 'adapt_to_devices', 'add_run_options',
    'check_checkpoint', 'check_data', 'describe_gmacs', 'draw_comparison', 'enable_amp',
    'find_images', 'load_run_config', 'load_segmentor', 'read_config', 'segment_images',
    'watch_shapes'
]
