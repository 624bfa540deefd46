"""An exact budget of compute or time: its options, the controller, the settling, the hooks."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .hook import GMACsBudgetHook
from .latency_hook import LatencyBudgetHook
from .options import GMACsBudget, LatencyBudget

__all__ = ['GMACsBudget', 'GMACsBudgetHook', 'LatencyBudget', 'LatencyBudgetHook']
