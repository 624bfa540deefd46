"""mmengine hooks and what training, testing and inference need."""

from .checkpoint_hook import SafeCheckpointHook
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
from .compile_hook import CompileHook
from .cpu_amp import CPUAmpOptimWrapper
from .data_check import check_data
from .devices import adapt_to_devices
from .dynopool_hook import DynOPoolHook
from .exact_resume import IterationSeedHook, make_resumable
from .gmacs_report import describe_gmacs, watch_shapes
from .inference import (
    complete_test_pipeline,
    draw_comparison,
    find_images,
    read_image,
    segment_images,
)
from .label_check import LabelCheckHook
from .load import load_segmentor
from .log_processor import DynOPoolLogProcessor
from .resume import checkpoint_differences, latest_checkpoint, resume_from_latest
from .safe_files import BACKEND, WholeFileBackend

__all__ = [
    'BACKEND', 'CPUAmpOptimWrapper', 'CompileHook', 'ConfigOptions', 'DynOPoolHook',
    'DynOPoolLogProcessor', 'IterationSeedHook', 'LabelCheckHook', 'SafeCheckpointHook',
    'WholeFileBackend', 'adapt_to_devices', 'add_run_options', 'check_checkpoint', 'check_data',
    'check_device', 'checkpoint_differences', 'complete_test_pipeline', 'count', 'describe_gmacs',
    'draw_comparison', 'enable_amp', 'find_images', 'latest_checkpoint', 'load_run_config',
    'load_segmentor', 'make_resumable', 'read_config', 'read_image', 'resume_from_latest',
    'segment_images', 'watch_shapes'
]
