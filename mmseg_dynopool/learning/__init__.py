"""How scales move in a training, whatever its loop: slopes, steps, a budget as a projection."""

from .cost_gradient import add_cost_gradient
from .keeper import BudgetKeeper
from .learner import ScaleLearner
from .plan import Plan
from .scales import LearnedScales
from .slopes import SlopeEstimator, SlopeMeans
from .two_passes import TwoPasses

__all__ = [
    'BudgetKeeper', 'LearnedScales', 'Plan', 'ScaleLearner', 'SlopeEstimator', 'SlopeMeans',
    'TwoPasses', 'add_cost_gradient'
]
