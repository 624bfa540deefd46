"""Any network becomes one whose resolutions are learned; needs no mmseg."""

from .convert import convert_dynopool, plan_conversion
from .plan import ConversionPlan

__all__ = ['ConversionPlan', 'convert_dynopool', 'plan_conversion']
