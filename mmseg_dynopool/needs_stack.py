"""Imported first by the rooms that need mmseg: where it is missing, one clear sentence."""

from mmseg_dynopool.stack import require_stack

require_stack('this part of mmseg_dynopool')
