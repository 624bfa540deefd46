"""mmengine hooks and what training needs."""

from .cli import add_run_options, enable_amp, load_run_config
from .cpu_amp import CPUAmpOptimWrapper
from .data_check import check_data
from .devices import adapt_to_devices
from .dynopool_hook import DynOPoolHook

__all__ = [
    'CPUAmpOptimWrapper', 'DynOPoolHook', 'adapt_to_devices', 'add_run_options', 'check_data',
    'enable_amp', 'load_run_config'
]
