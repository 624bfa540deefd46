"""What mmengine's runner gets: hooks, one job each, the log line, mixed precision on CPUs."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .compute import CompileHook, CPUAmpOptimWrapper
from .dynopool_hook import DynOPoolHook
from .label_check import LabelCheckHook
from .names_of_0_3 import MeasuredGradientHook
from .shape_log_hook import ShapeLogHook
from .shape_scalar import DynOPoolLogProcessor

__all__ = [
    'CPUAmpOptimWrapper', 'CompileHook', 'DynOPoolHook', 'DynOPoolLogProcessor', 'LabelCheckHook',
    'MeasuredGradientHook', 'ShapeLogHook'
]
