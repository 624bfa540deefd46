"""Any network becomes one whose resolutions are learned; needs torch alone."""

from .convert import convert_dynopool, plan_conversion
from .level_name import LevelName
from .plan import ConversionPlan

__all__ = ['ConversionPlan', 'LevelName', 'convert_dynopool', 'plan_conversion']
