"""Make a config written for GPUs run where there is none."""

import torch
import torch.distributed
from mmengine.config import Config


def adapt_to_devices(cfg: Config) -> Config:
    """On a machine without GPU, replace what needs one, in place.

    - SyncBN becomes BN. mmengine reverts it by itself in a single process, but not among
      several processes on CPUs, where torch's SyncBatchNorm cannot run.
    - Processes that torchrun started form their group over Gloo here and now, and DDP gets no
      device numbers: mmengine would ask CUDA for a device first.
    """
    if torch.cuda.is_available():
        return cfg
    _replace_sync_bn(cfg._cfg_dict)
    if cfg.get('launcher', 'none') == 'pytorch':
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        if cfg.get('model_wrapper_cfg') is None:
            cfg.model_wrapper_cfg = dict(
                type='MMDistributedDataParallel', broadcast_buffers=False,
                find_unused_parameters=cfg.get('find_unused_parameters', False))
        cfg.model_wrapper_cfg.device_ids = None
    return cfg


def _replace_sync_bn(node) -> None:
    if isinstance(node, dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for child in node:
        _replace_sync_bn(child)
