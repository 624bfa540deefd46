"""A killed run, resumed, ends as if nothing had happened."""

from .checkpoint_hook import SafeCheckpointHook
from .exact_resume import IterationSeedHook, make_resumable
from .latest import checkpoint_differences, latest_checkpoint, resume_from_latest
from .safe_files import BACKEND, WholeFileBackend
from .seeded import SeededDataset, SeededSampler

__all__ = [
    'BACKEND', 'IterationSeedHook', 'SafeCheckpointHook', 'SeededDataset', 'SeededSampler',
    'WholeFileBackend', 'checkpoint_differences', 'latest_checkpoint', 'make_resumable',
    'resume_from_latest'
]
