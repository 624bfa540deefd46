"""mmengine hooks and what training needs."""

from .devices import adapt_to_devices
from .dynopool_hook import DynOPoolHook

__all__ = ['DynOPoolHook', 'adapt_to_devices']
