"""An exact compute budget: its options, the controller, the settling, and the hook."""

from .controller import BudgetController
from .hook import GMACsBudgetHook
from .options import GMACsBudget
from .plant import PoolParameters
from .settle import settle
from .step_size import StepSize, step_size

__all__ = [
    'BudgetController', 'GMACsBudget', 'GMACsBudgetHook', 'PoolParameters', 'StepSize', 'settle',
    'step_size'
]
