"""A killed run, resumed, ends as if nothing had happened."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .checkpoint_hook import SafeCheckpointHook
from .exact_resume import IterationSeedHook, make_resumable
from .latest import latest_checkpoint, resume_from_latest
from .seeded import SeededDataset, SeededSampler

__all__ = [
    'IterationSeedHook', 'SafeCheckpointHook', 'SeededDataset', 'SeededSampler',
    'latest_checkpoint', 'make_resumable', 'resume_from_latest'
]
