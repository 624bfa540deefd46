"""Build a trained segmentor from what a user has: a config and a file of weights."""

from mmseg.apis import init_model
from mmseg.models import BaseSegmentor

from mmseg_dynopool.config import read_config

from .verify import check_checkpoint


def load_segmentor(config: str, weights: str | None, device: str = 'cpu',
                   options: dict | None = None, onnx: bool = False,
                   scales: bool = False) -> BaseSegmentor:
    """Build the segmentor of a config and load its weights, all of them.

    Args:
        config: config file.
        weights: a checkpoint's file or URL, or a ``.safetensors`` file. None leaves the network
            untrained.
        device: e.g. ``'cuda:0'``; an ONNX file's device is onnxruntime's choice.
        options: settings of the config to override.
        scales: require that the weights hold the learned scales of a network that has some; a
            stock network's checkpoint fits without, at the initial ones.
        onnx: take an ``.onnx`` file of ``tools/export.py``, too: for inference alone.

    Returns:
        A segmentor for mmseg's ``inference_model``, in evaluation mode.

    Raises:
        SystemExit: there is no such config.
        ValueError: a file does not exist, cannot be read, or belongs to another architecture.
    """
    cfg = read_config(config, options)
    if weights is None:
        return init_model(cfg, device=device)
    if weights.endswith('.onnx'):
        if not onnx:
            raise ValueError(f'{weights} is an ONNX file, which serves inference alone; give the '
                             'checkpoint that it was made from')
        from mmseg_dynopool.export import OnnxSegmentor  # to be moved up
        return OnnxSegmentor(weights, cfg)
    check_checkpoint(init_model(cfg, device='cpu'), weights, inference=True, scales=scales)
    return init_model(cfg, weights, device)
