"""A trained network at a wanted cost: measured, searched, fine-tuned, written."""

import mmseg_dynopool.needs_stack  # noqa: F401
