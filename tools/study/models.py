"""Measure the networks of configs/, and write docs/models.md and configs/metafile.yml.

measure: a JSON line for each config and device in docs/models/measured.jsonl, in place of an older
one. The classifiers need the extra classification.
page: the page and the metafile, from these lines, the logs beside them and the evidence's runs.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import accumulate

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from rich.progress import track
from torch.profiler import ProfilerActivity

from benchmark import label_maps, train_step
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_device, check_device, positive_int
from mmseg_dynopool.config import (
    adapt_to_devices,
    conversion_of,
    counted_shape,
    is_segmentor,
    read_config,
    type_name,
)
from mmseg_dynopool.costs import device_name, time_alternately
from mmseg_dynopool.layers.find import input_channels
from mmseg_dynopool.models.cost import count_network_gmacs
from mmseg_dynopool.models.whole_network import forward_without_postprocessing

from .models_page import LINES, ROOT, metafile, page, read_measured

BATCH = 2  # images of a training step; some heads cannot normalize one


def measure(name: str, device: str, repeats: int | None) -> dict:
    """The line of a config."""
    torch.manual_seed(0)
    cfg = read_config(str(ROOT / 'configs' / name))
    for part in (cfg.model, cfg.model.backbone):  # pretrained weights would be downloaded
        part.pop('pretrained', None)
        part.pop('init_cfg', None)
    dataset = cfg.train_dataloader.dataset
    while inner := dataset.get('dataset') or dataset.get('datasets', [None])[0]:
        dataset = inner  # of a wrapper
    model = load_network(adapt_to_devices(cfg), None, device)
    shape = counted_shape(model.cfg) or trained_shape(dataset.pipeline)
    image = torch.rand(1, input_channels(model), *shape, device=device)
    run = partial(forward_without_postprocessing, model, image)
    with torch.no_grad():
        start = time.perf_counter()
        run()
        repeats = repeats or min(100, max(7, int(10 / (time.perf_counter() - start))))
        seconds = time_alternately({name: run}, repeats, device)[name]
    return dict(config=name, device=device_name(device), on_cpu=not image.is_cuda,
                segments=is_segmentor(cfg.model), data=dataset.type.removesuffix('Dataset'),
                network=f'{type_name((conversion_of(cfg.model) or [cfg.model.backbone])[0])}, '
                f'{heads(cfg.model)}', goal=goal(cfg), shape=list(shape),
                params=sum(p.numel() for p in model.parameters()),
                gmacs=count_network_gmacs(model, shape), ms=1e3 * statistics.median(seconds),
                train_mib=training_memory(model, image, is_segmentor(cfg.model)),
                torch=version('torch'))


def trained_shape(pipeline: list[dict]) -> tuple[int, int]:
    """``(H, W)`` of what a classifier's pipeline makes of an image."""
    transforms = [step for step in pipeline if step['type'] != 'LoadImageFromFile']
    image = np.zeros((32, 32, 3), np.uint8)
    packed = Compose(transforms)(dict(img=image, img_shape=image.shape[:2], gt_label=0))
    height, width = packed['inputs'].shape[1:]
    return height, width


def heads(model_cfg: dict) -> str:
    """The types of the heads that a prediction takes."""
    head = model_cfg.get('decode_head') or model_cfg['head']
    return ' + '.join(type_name(each) for each in (head if isinstance(head, list) else [head]))


def goal(cfg: Config) -> str:
    """Where a training ends, by the options of its DynOPoolHook."""
    hooks = cfg.get('custom_hooks') or ()
    options = next((hook for hook in hooks if type_name(hook) == 'DynOPoolHook'), {})
    if options.get('gmacs_budget'):
        return f'{options["gmacs_budget"]["target"]:.0%}'
    weight = options.get('gmacs_weight')
    return 'fixed' if weight is None else f'weight {weight:g}'


def training_memory(model: torch.nn.Module, image: torch.Tensor, segments: bool) -> float:
    """MiB that a training step of ``BATCH`` images allocates at its peak, beyond the weights."""
    images = image.expand(BATCH, -1, -1, -1).contiguous()
    step = partial(train_step, model, images, samples(images, segments))
    step()  # what is made once
    if image.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events
                     if event.name() == '[memory]')
    return max(accumulate(change for _, change in changes)) / 2**20


def samples(images: torch.Tensor, segments: bool) -> list:
    """Labels of two classes."""
    if segments:
        return label_maps(BATCH, images.shape[2:], images.device)
    from mmpretrain.structures import DataSample  # of the extra classification
    return [DataSample().set_gt_label(torch.tensor([n % 2], device=images.device))
            for n in range(BATCH)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=('measure', 'page'))
    parser.add_argument('configs', nargs='*', help='of measure: names below configs/; default: all '
                        'whose packages are installed')
    parser.add_argument('--repeats', type=positive_int,
                        help='timed passes; default: 7, of fast networks up to 100, in 10 s')
    add_device(parser)
    args = parser.parse_args()
    if args.command == 'page':
        (ROOT / 'docs' / 'models.md').write_text(page())
        (ROOT / 'configs' / 'metafile.yml').write_text(metafile())
        return
    check_device(args.device)
    folders = ['', 'classification/'] if find_spec('mmpretrain') else ['']
    names = args.configs or [str(path.relative_to(ROOT / 'configs')) for folder in folders
                             for path in sorted((ROOT / 'configs' / folder).glob('*.py'))]
    lines = read_measured()
    for name in track(names, description='measuring'):
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as alone:
            line = alone.submit(measure, name, args.device, args.repeats).result()
        lines[name, line['device']] = line
        LINES.write_text(''.join(f'{json.dumps(line)}\n' for line in lines.values()))


if __name__ == '__main__':
    main()
