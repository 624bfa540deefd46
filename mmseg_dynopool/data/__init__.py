"""Data sets of our own, and checks of any."""

import mmseg_dynopool.needs_stack  # noqa: F401
