"""Build a trained segmentor from what a user has: a config and a file of weights."""

import copy

from mmseg.apis import init_model
from mmseg.models import BaseSegmentor

from mmseg_dynopool.export import OnnxSegmentor

from .checkpoints import check_checkpoint
from .cli import read_config


def load_segmentor(config: str, weights: str | None, device: str = 'cpu',
                   options: dict | None = None) -> BaseSegmentor:
    """Build the segmentor of a config and load its weights, all of them.

    Args:
        config: config file.
        weights: a checkpoint's file or URL, a ``.safetensors`` file or, for inference alone, an
            ``.onnx`` file of ``tools/export.py``. None leaves the network untrained.
        device: e.g. ``'cuda:0'``; an ONNX file's device is onnxruntime's choice.
        options: settings of the config to override.

    Returns:
        A segmentor for mmseg's ``inference_model``, in evaluation mode.

    Raises:
        SystemExit: there is no such config.
        ValueError: a file does not exist, cannot be read, or belongs to another architecture.
    """
    cfg = read_config(config, options)
    if 'test_pipeline' not in cfg and 'test_dataloader' in cfg:
        # mmseg's inference reads this variable, which by habit stands in a config.
        cfg.test_pipeline = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
    if weights is None:
        return init_model(cfg, device=device)
    if weights.endswith('.onnx'):
        return OnnxSegmentor(weights, cfg)
    check_checkpoint(init_model(cfg, device='cpu'), weights)
    return init_model(cfg, weights, device)
