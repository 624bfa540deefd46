"""Checkpoints of a training hold more than weights, which PyTorch 2.6 refuses by default."""

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmseg_dynopool.checkpoints.verify import check_checkpoint
from support.toys import ONLY_WEIGHTS, TRUST


@pytest.fixture
def model():
    return nn.Conv2d(1, 1, 1)


@pytest.fixture
def path(model, tmp_path):
    """What mmengine's runner saves: the weights, and the log's history beside them."""
    log = dict(log_scalars=dict(loss=HistoryBuffer([1.0], [1])))
    torch.save(dict(state_dict=model.state_dict(), message_hub=log), tmp_path / 'iter_1.pth')
    return str(tmp_path / 'iter_1.pth')


@pytest.mark.xfail(ONLY_WEIGHTS, reason='mmengine 0.10.7 calls torch.load without weights_only, '
                   'which reads only weights since PyTorch 2.6')
def test_a_checkpoint_of_a_training_loads(path, monkeypatch):
    monkeypatch.delenv(TRUST, raising=False)
    assert 'message_hub' in CheckpointLoader.load_checkpoint(path, map_location='cpu')


@pytest.mark.skipif(not ONLY_WEIGHTS, reason='this mmengine loads such checkpoints')
def test_the_way_out_is_named(model, path, monkeypatch):
    monkeypatch.delenv(TRUST, raising=False)
    with pytest.raises(ValueError, match=f'holds more than weights.*{TRUST}=1'):
        check_checkpoint(model, path)


def test_a_trusted_checkpoint_loads(model, path, monkeypatch):
    monkeypatch.setenv(TRUST, '1')
    check_checkpoint(model, path)
