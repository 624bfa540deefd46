"""Where OpenMMLab's packages find the names of this one: in the root registries of mmengine."""

import mmengine.registry
import mmseg.registry
import pytest
from mmengine.registry import DefaultScope, Registry
from torch import nn

import mmseg_dynopool

KINDS = dict(MODELS='DynOPoolBackbone', HOOKS='DynOPoolHook', DATASETS='MNI152TissueDataset')


@pytest.fixture
def another():
    """The models of a package that has never heard of mmseg, with a backbone of its own."""
    models = Registry('model', parent=mmengine.registry.MODELS, scope='another')
    models.register_module(module=Strided)
    yield models
    mmengine.registry.MODELS.children.pop('another')


class Strided(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, image):
        return self.conv(image)


@pytest.mark.parametrize('default', [None, 'mmseg'])
@pytest.mark.parametrize('scope', ['', 'mmseg.', 'mmengine.'])
@pytest.mark.parametrize('kind, name', KINDS.items())
def test_names_with_and_without_a_scope(kind, name, scope, default):
    expected = getattr(mmseg_dynopool, name)
    for package in (mmseg.registry, mmengine.registry):
        registry = getattr(package, kind)
        with (DefaultScope.overwrite_default_scope(default),
              registry.switch_scope_and_registry(None) as used):  # as at a build
            assert registry.get(scope + name) is expected
            assert used.get(scope + name) is expected


def test_another_package_finds_them_and_converts_its_own(another):
    assert another.get('DynOPoolBackbone') is mmseg_dynopool.DynOPoolBackbone
    assert another.get('mmseg.DynOPoolHRNet') is mmseg_dynopool.DynOPoolHRNet
    config = dict(type='DynOPoolBackbone', backbone=dict(type='Strided'))
    with DefaultScope.overwrite_default_scope('another'):
        for registry in (another, mmengine.registry.MODELS):
            assert list(registry.build(config).dynopools) == ['stride2']
    config['backbone']['type'] = 'another.Strided'
    assert list(mmseg.registry.MODELS.build(config).dynopools) == ['stride2']
