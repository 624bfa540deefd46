"""Times of the demo's networks at the scales with which they ended, all by turns in one process.

The time in a run's line is measured beside whatever else runs then.
"""

import json
from pathlib import Path

import torch
from mmseg.registry import MODELS

from mmseg_dynopool.costs import measure_latency
from mmseg_dynopool.costs.latency_fit import relative_times
from mmseg_dynopool.files import write_file
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.models.whole_network import forward_without_postprocessing

from .candidates import describe, load
from .runs import Run


def write_times(done: dict[str, dict], path: Path) -> None:
    """Write ``{key: time relative to the start}`` of each run of the demo whose scales can learn.

    Args:
        done: JSON lines by key.
        path: the JSON file.
    """
    torch.set_num_threads(1)  # as in the trainings
    config = load(*describe(Run('demo', 'mni152', 'learner', 0.5, 0)))
    model = MODELS.build(config.model)
    start = {name: pool.initial_scale for name, pool in learned_pools(model).items()}
    ended = {key: {f'backbone.dynopools.{name}': tuple(pair)
                   for name, pair in line['scales'].items()}
             for key, line in done.items() if line['network'] == 'demo' and line['scales']}
    seconds = measure_latency(model, [start, *ended.values()],
                              config.model.data_preprocessor.size, 3,
                              forward_without_postprocessing, repeats=60)
    times = {key: round(float(t), 4) for key, t in zip(ended, relative_times(seconds)[1:])}
    write_file(path, json.dumps(times, indent=1).encode())
