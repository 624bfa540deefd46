"""What a fit leaves: config, weights, a program, and the page that says how it went."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import save_checkpoint

from mmseg_dynopool.analysis.evaluation import Evaluation, ImageEvaluation, evaluate, segment
from mmseg_dynopool.checkpoints import load_network, save_safetensors
from mmseg_dynopool.config import how_to_run
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.costs import measure_latency
from mmseg_dynopool.costs.latency_fit import relative_times
from mmseg_dynopool.export import export_program
from mmseg_dynopool.files import make_folder, write_file
from mmseg_dynopool.models.whole_network import network_forward
from mmseg_dynopool.report.comparison import encode_panels
from mmseg_dynopool.search.search import SearchResult

from .fitting import Fitting, Tuned
from .page import Fitted, make_page
from .settings import resized_config, test_pipeline

FILES = ('config.py', 'checkpoint.pth', 'weights.safetensors', 'report.html', 'fitted.json')
_PICTURES = 2  # of images that lost most, and as many of those that gained most


def write_fitted(fitting: Fitting, target: float, found: SearchResult, tuned: list[Tuned],
                 checkpoint: str | Path, folder: Path, onnx: bool = False,
                 resized_input: bool = False) -> Fitted:
    """Write the best to a folder: its config with a fixed size, its weights, the report.

    Raises:
        RuntimeError: what was written does not give the fine-tuned network's weights.
    """
    size, device = tuned[0].size, fitting.options.device
    cfg = fitting.config(size)
    for key in ('load_from', 'resume', 'work_dir'):
        cfg.pop(key, None)
    if cfg.get('test_pipeline') is None:  # mmseg's inference reads it
        cfg.test_pipeline = test_pipeline(cfg)
    model = load_network(cfg, str(checkpoint), device)
    written = _write_network(cfg, model, make_folder(folder))
    run = network_forward(fitting.model, fitting.shape, **how_to_run(fitting.cfg))
    seconds = measure_latency(
        fitting.model, [fitting.scales(), fitting.scales(size)], fitting.shape, *run)
    stock = resized_config(fitting.cfg, (1.0, 1.0), fitting.multiple)
    networks = load_network(stock, fitting.weights, device), model
    before, after = (evaluate(network, config) for network, config in zip(networks, (stock, cfg)))
    fitted = Fitted(
        fitting, target, found, tuned, checkpoint == fitting.checkpoint, before, after,
        float(relative_times(seconds)[1]), float(1e3 * np.median(seconds[0])),
        list(_pictures(networks, before, after)))
    write_file(folder / 'report.html', make_page(fitted).encode())
    write_file(folder / 'fitted.json', json.dumps(dict(
        target=target, unit=fitting.options.unit, size=size.size, scale=size.scale,
        cost=size.cost, stock_cost=fitting.stock_cost, untouched=fitted.untouched,
        score_before=before.score(), score_after=after.score(), time=fitted.time,
        judged={str(one.size): one.score for one in tuned}), indent=1).encode())
    if onnx:  # which may be refused
        export_program(written, folder / 'network.onnx', fitting.shape, dynamic=True,
                       resized_input=resized_input)
    return fitted


def _write_network(cfg: Config, model: BaseModel, folder: Path) -> BaseModel:
    """Write config and weights; returns the network that they give."""
    state = {key: value.cpu() for key, value in model.state_dict().items()}
    meta = dict(dataset_meta=model.dataset_meta)
    with TemporaryDirectory(dir=folder) as name:
        part = Path(name)
        write_file(part / 'config.py', config_text(cfg).encode())
        save_checkpoint(dict(meta=meta, state_dict=state), str(part / 'checkpoint.pth'))
        save_safetensors(state, part / 'weights.safetensors', meta)
        written = load_network(Config.fromfile(part / 'config.py'),
                               str(part / 'weights.safetensors'))
        if any(not torch.equal(value, state[key]) for key, value in written.state_dict().items()):
            raise RuntimeError('what was written differs from the fine-tuned network. Please '
                               'report this')
        for file in FILES[:3]:
            (part / file).replace(folder / file)
    return written


def _pictures(networks: tuple[BaseModel, BaseModel], before: Evaluation, after: Evaluation
              ) -> Iterator[tuple[str, float, dict[str, bytes]]]:
    """The images that lost most, and those that gained most."""
    if isinstance(after, ImageEvaluation):
        return
    gains = after.image_miou() - before.image_miou()
    order = [int(i) for i in np.argsort(gains, kind='stable') if np.isfinite(gains[i])]
    for index in dict.fromkeys([*order[:_PICTURES], *order[:-_PICTURES - 1:-1]]):
        image, truth, old = segment(networks[0], before.dataset, index)
        labels = dict(Truth=truth, Before=old, After=segment(networks[1], after.dataset, index)[2])
        yield Path(after.paths[index]).name, float(gains[index]), encode_panels(
            image, labels, after.palette, after.ignore_index)
