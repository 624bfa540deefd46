"""Make a config written for GPUs run where there is none."""

import torch
from mmengine.config import Config


def adapt_to_devices(cfg: Config) -> Config:
    """On a machine without GPU, replace SyncBN by BN and NCCL by Gloo, in place.

    mmengine reverts SyncBN by itself in a single process, but not among several processes on
    CPUs, where torch's SyncBatchNorm cannot run.
    """
    if not torch.cuda.is_available():
        _replace_sync_bn(cfg._cfg_dict)
        dist_cfg = cfg.get('env_cfg', {}).get('dist_cfg', {})
        if dist_cfg.get('backend') == 'nccl':
            dist_cfg['backend'] = 'gloo'
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
