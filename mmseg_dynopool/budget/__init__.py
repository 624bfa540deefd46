"""An exact budget of compute or time: its options, the controller, the settling, the hooks."""

from .hook import BudgetHook, GMACsBudgetHook
from .latency_hook import LatencyBudgetHook
from .options import Budget, GMACsBudget, LatencyBudget

__all__ = [
    'Budget', 'BudgetHook', 'GMACsBudget', 'GMACsBudgetHook', 'LatencyBudget', 'LatencyBudgetHook'
]
