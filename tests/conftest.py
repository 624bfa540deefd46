"""Fixtures of several test modules."""

import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import loops

import mmseg_dynopool  # noqa: F401  registers
from support.toys import ONLY_WEIGHTS, TRUST, write_cityscapes

if ONLY_WEIGHTS:  # of mmseg's own tools; the tests trust the checkpoints that they wrote
    os.environ[TRUST] = '1'


@pytest.fixture(scope='session')
def cityscapes(tmp_path_factory):
    return write_cityscapes(tmp_path_factory.mktemp('cityscapes'))


@pytest.fixture(autouse=True, scope='module')
def mmseg_scope_of_fixtures():
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def mmseg_scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='session')
def no_wait_between_epochs():
    """mmengine sleeps two seconds after each epoch, for loaders with processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, 'time', SimpleNamespace(sleep=lambda seconds: None))
        yield


@pytest.fixture
def fresh_compiler():
    """Without the graphs of other tests."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))
