"""Old path, for one version: see [moving from 0.3](../docs/from_0_3.md)."""

import mmseg_dynopool.needs_stack  # noqa: F401
from mmseg_dynopool.costs import GMACsBudget, LatencyBudget
from mmseg_dynopool.hooks.names_of_0_3 import GMACsBudgetHook, LatencyBudgetHook

__all__ = ['GMACsBudget', 'GMACsBudgetHook', 'LatencyBudget', 'LatencyBudgetHook']
