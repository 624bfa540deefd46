"""Fixtures of several test modules.

What takes seconds to import is imported where it is used: the process that distributes the tests
needs none of it.
"""

import gc
import os
from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True, scope='session')
def trust_of_checkpoints():
    """By mmseg's own tools, in the checkpoints that the tests wrote."""
    from support.toys import ONLY_WEIGHTS, TRUST
    if ONLY_WEIGHTS:
        os.environ[TRUST] = '1'


@pytest.fixture(scope='session')
def cityscapes(tmp_path_factory):
    from support.toys import write_cityscapes
    return write_cityscapes(tmp_path_factory.mktemp('cityscapes'))


@pytest.fixture(autouse=True, scope='module')
def mmseg_scope_of_fixtures():
    from mmengine.registry import init_default_scope

    import mmseg_dynopool  # noqa: F401  registers
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def mmseg_scope():
    import torch
    from mmengine.registry import init_default_scope
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='session')
def no_wait_in_mmengine():
    """Two seconds after each epoch, for loaders with processes; a search for garbage for each data
    set; and five times in a training a config is formatted: half a second each.
    """
    from mmengine.dataset import base_dataset
    from mmengine.runner import loops
    from yapf.yapflib import yapf_api

    def only_check(text, **style):
        compile(text, 'config', 'exec')
        return text, True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, 'time', SimpleNamespace(sleep=lambda seconds: None))
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: None))
        patch.setattr(yapf_api, 'FormatCode', only_check)
        yield


@pytest.fixture
def fresh_compiler():
    """Without the graphs of other tests."""
    import torch
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pytest_collection_modifyitems(items):
    import torch
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


def pytest_collection_finish():
    """The garbage collector need not look through a million objects of modules, again and again."""
    gc.collect()
    gc.freeze()
