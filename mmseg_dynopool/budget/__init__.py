"""An exact budget of compute or time: its options, the controller, the settling, the hooks."""

from .controller import BudgetController
from .hook import BudgetHook, GMACsBudgetHook
from .latency_hook import LatencyBudgetHook
from .options import Budget, GMACsBudget, LatencyBudget
from .plant import PoolParameters
from .settle import settle
from .step_size import StepSize, step_size

__all__ = [
    'Budget', 'BudgetController', 'BudgetHook', 'GMACsBudget', 'GMACsBudgetHook', 'LatencyBudget',
    'LatencyBudgetHook', 'PoolParameters', 'StepSize', 'settle', 'step_size'
]
