"""How scales move in a training, whatever its loop: slopes, steps, a budget as a projection."""

from .cost_gradient import add_cost_gradient
from .keeper import BudgetKeeper
from .learner import ScaleLearner
from .scales import LearnedScales
from .slopes import SlopeEstimator
from .two_passes import TwoPasses

__all__ = [
    'BudgetKeeper', 'LearnedScales', 'ScaleLearner', 'SlopeEstimator', 'TwoPasses',
    'add_cost_gradient'
]
