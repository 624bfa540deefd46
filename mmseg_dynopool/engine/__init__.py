"""mmengine hooks and what training, testing and inference need."""

from .checkpoints import check_checkpoint
from .cli import (
    ConfigOptions,
    add_run_options,
    check_device,
    count,
    enable_amp,
    load_run_config,
    read_config,
)
from .cpu_amp import CPUAmpOptimWrapper
from .data_check import check_data
from .devices import adapt_to_devices
from .dynopool_hook import DynOPoolHook
from .gmacs_report import describe_gmacs, watch_shapes
from .inference import draw_comparison, find_images, read_image, segment_images
from .label_check import LabelCheckHook

__all__ = [
    'CPUAmpOptimWrapper', 'ConfigOptions', 'DynOPoolHook', 'LabelCheckHook', 'adapt_to_devices',
    'add_run_options', 'check_checkpoint', 'check_data', 'check_device', 'count',
    'describe_gmacs', 'draw_comparison', 'enable_amp', 'find_images', 'load_run_config',
    'read_config', 'read_image', 'segment_images', 'watch_shapes'
]
