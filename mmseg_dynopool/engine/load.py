"""Build a trained segmentor from what a user has: a config and a file of weights."""

import copy
from pathlib import Path

from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.models import BaseSegmentor

from mmseg_dynopool.export import OnnxSegmentor

from .checkpoints import check_checkpoint


def read_config(path: str, options: dict | None = None) -> Config:
    """Read a config file and apply ``--cfg-options``.

    Raises:
        ValueError: there is no such file.
    """
    _check_file(path, 'config; configs/ holds those of mmseg_dynopool')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    return cfg


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
        ValueError: a file does not exist, cannot be read, or belongs to another architecture.
    """
    cfg = read_config(config, options)
    if 'test_pipeline' not in cfg and 'test_dataloader' in cfg:
        # mmseg's inference reads this variable, which by habit stands in a config.
        cfg.test_pipeline = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
    if weights is None:
        return init_model(cfg, device=device)
    if '://' not in weights:
        _check_file(weights, 'checkpoint')
    if weights.endswith('.onnx'):
        return OnnxSegmentor(weights, cfg)
    check_checkpoint(init_model(cfg, device='cpu'), weights)
    return init_model(cfg, weights, device)


def _check_file(path: str, kind: str) -> None:
    if not Path(path).is_file():
        raise ValueError(f'there is no file {str(path)!r} to read as a {kind}')
