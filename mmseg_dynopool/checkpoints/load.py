"""Build a trained network from a config and a file of weights."""

import copy

from mmengine.config import Config
from mmengine.model import BaseModel
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import get_classes, get_palette

from mmseg_dynopool.config import enter_scope, find_type, is_segmentor
from mmseg_dynopool.data.listing import dataset_of

from .checkpoint import Checkpoint


def load_network(cfg: Config, checkpoint: Checkpoint | str | None, device: str = 'cpu',
                 scales: bool = False) -> BaseModel:
    """Build the segmentor or classifier of a config and load all of its weights.

    Args:
        cfg: the config.
        checkpoint: its weights, or their file or URL. None leaves the network untrained.
        device: e.g. ``'cuda:0'``.
        scales: require the learned scales of a network that has some; otherwise a stock network's
            checkpoint fits, too.

    Returns:
        A network for the inference of mmseg or mmpretrain, in evaluation mode.

    Raises:
        ValueError: a file does not exist, cannot be read, or belongs to another architecture.

    Examples:
        >>> import torch
        >>> from mmengine.config import Config
        >>> from mmseg_dynopool.checkpoints import load_network
        >>> cfg = Config(dict(model=dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=3))))
        >>> network = load_network(cfg, checkpoint=None)  # or 'work_dirs/.../iter_80000.pth'
        >>> network(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 3, 2, 3])
    """
    if not isinstance(checkpoint, Checkpoint | None):
        checkpoint = Checkpoint.read(checkpoint)
    cfg = copy.deepcopy(cfg)  # it is changed here
    if cfg.get('data_preprocessor') is not None:  # at the top level, as mmpretrain has it
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = _build(cfg)
    if checkpoint is not None:
        checkpoint.verify(model, scales=scales)
        checkpoint.load_into(model)
        model.dataset_meta = _dataset_meta(checkpoint, cfg)
    return model.to(device)


def _build(cfg: Config) -> BaseModel:
    """As mmseg's ``init_model``, which gives every class arguments that only some take."""
    for key in ('pretrained', 'init_cfg'):
        if key in cfg.model:
            cfg.model[key] = None
    enter_scope(cfg)
    model = MODELS.build(cfg.model)
    model.cfg = cfg  # mmseg's inference reads it
    model.eval()
    return model


def _dataset_meta(checkpoint: Checkpoint, cfg: Config) -> dict:
    """Classes and palette of the checkpoint, else the test set, else (segmentors) Cityscapes."""
    meta = checkpoint.meta
    if meta.get('dataset_meta'):
        return meta['dataset_meta']
    if 'CLASSES' in meta:  # of mmseg before 1.0
        return dict(classes=meta['CLASSES'], palette=meta.get('PALETTE'))
    dataset = dataset_of(cfg.get('test_dataloader'))
    named = {**getattr(find_type(DATASETS, dataset), 'METAINFO', {}),
             **(dataset.get('metainfo') or {})}
    if named or not is_segmentor(cfg.model):
        return named
    return dict(classes=get_classes('cityscapes'), palette=get_palette('cityscapes'))
