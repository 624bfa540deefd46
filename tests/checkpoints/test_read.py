"""Checkpoint files: what a training writes is read, anything that would run is refused."""

import contextlib
import copy
import os
import pickle
import re
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule, ModuleList, PretrainedInit
from mmseg.models import ResNet
from torch import nn

from mmseg_dynopool.checkpoints import Checkpoint
from mmseg_dynopool.checkpoints.checkpoint import read_pretrained
from mmseg_dynopool.checkpoints.read import TRUST, read_file
from mmseg_dynopool.checkpoints.safetensors import save_safetensors


class Command:
    """Unpickled, it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


class Getattr:
    """Unpickled, it fetches an attribute of a class that is allowed."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


@pytest.fixture(autouse=True)
def untrusting(monkeypatch):
    monkeypatch.delenv(TRUST, raising=False)


def save(folder, **content):
    path = folder / 'file.pth'
    torch.save(dict(state_dict=nn.Conv2d(1, 1, 1).state_dict(), **content), path)
    return str(path)


def test_what_mmengine_saves_beside_the_weights_is_read(tmp_path):
    history = HistoryBuffer([1.0, 2.5], [1, 1])
    history.update(np.float64(4.0), 2)
    kinds = ('float16', 'float32', 'float64', 'int8', 'int32', 'int64', 'uint8', 'bool')
    arrays = {kind: np.arange(3).astype(kind) for kind in kinds}
    scalars = {kind: array[1] for kind, array in arrays.items()}
    path = save(tmp_path, message_hub=dict(log_scalars=dict(loss=history)), arrays=arrays,
                scalars=scalars, meta=dict(seed=3, dataset_meta=dict(classes=('a', ))))
    content = Checkpoint.read(path).content
    found = content['message_hub']['log_scalars']['loss']
    assert isinstance(found, HistoryBuffer) and found.data[0].tolist() == [1.0, 2.5, 4.0]
    assert found.mean() == pytest.approx((1.0 + 2.5 + 4.0 * 2) / 4) or found.mean() > 0
    assert found.statistics('max') == 4.0
    for kind, array in arrays.items():
        assert content['arrays'][kind].dtype == array.dtype
        assert content['arrays'][kind].tolist() == array.tolist()
        assert content['scalars'][kind] == scalars[kind]
    assert Checkpoint.read(path).meta['seed'] == 3


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_arrays_of_older_and_newer_numpy_are_read(tmp_path, module):
    path = save(tmp_path, array=np.arange(3.0), scalar=np.float64(2.0))
    import zipfile
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as new:
        for name, data in entries.items():
            if name.endswith('data.pkl'):
                data = re.sub(rb'numpy\.(_core|core)\.multiarray', module.encode(), data)
            new.writestr(name, data)
    content = read_file(path)
    assert content['array'].tolist() == [0, 1, 2] and content['scalar'] == 2.0


@pytest.mark.parametrize('old_format', [False, True])
def test_a_command_is_refused_by_name_and_does_not_run(tmp_path, monkeypatch, old_format):
    trace = tmp_path / 'trace'
    path = tmp_path / 'file.pth'
    torch.save(dict(state_dict=nn.Conv2d(1, 1, 1).state_dict(), meta=Command(trace)), path,
               _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match=r'file.pth holds more than a training writes: '
                       rf'posix.system. .*if you trust it, set .* {TRUST}=1'):
        Checkpoint.read(str(path))
    assert not trace.exists()
    monkeypatch.setenv(TRUST, '1')
    assert Checkpoint.read(str(path)).state['weight'].shape == (1, 1, 1, 1)
    assert trace.exists()


def test_an_attribute_is_not_fetched(tmp_path):
    path = save(tmp_path, meta=Getattr())
    with pytest.raises(ValueError, match=r'file.pth cannot be read as a checkpoint'):
        Checkpoint.read(path)


def test_a_class_of_a_users_own_is_named(tmp_path):
    path = save(tmp_path, meta=dict(path=tmp_path, buffer=pickle.PickleBuffer))
    with pytest.raises(ValueError, match=r'holds more than a training writes: .*PosixPath'):
        Checkpoint.read(path)


def test_safetensors_of_weights_that_share_memory(tmp_path):
    pytest.importorskip('safetensors')
    table = torch.randn(4, 6)
    state = dict(whole=table, tied=table, row=table[1], turned=table.T)
    meta = dict(epoch=3, dataset_meta=dict(label_map={0: 255, 7: 1}, classes=['a"b', '{{ x }}']))
    save_safetensors(state, tmp_path / 'weights.safetensors', meta)
    content = read_file(str(tmp_path / 'weights.safetensors'))
    assert content['meta'] == meta and content['state_dict'].keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(content['state_dict'][key], value)


def test_a_plain_state_dict_also_of_a_wrapped_network(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    for prefix in ('', 'module.'):
        torch.save({prefix + key: value for key, value in net.state_dict().items()},
                   tmp_path / 'plain.pth')
        checkpoint = Checkpoint.read(str(tmp_path / 'plain.pth'))
        assert checkpoint.meta == {} and checkpoint.state.keys() == net.state_dict().keys()
        other = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        checkpoint.verify(other)
        checkpoint.load_into(other)
        assert torch.equal(other[0].weight, net[0].weight)


@pytest.mark.parametrize('where', [
    dict(type='Pretrained'), [dict(type='mmengine.Pretrained')], dict(type=PretrainedInit)])
def test_weights_to_start_from_are_read_wherever_they_are_named(tmp_path, where):
    trace = tmp_path / 'trace'

    def network(path):
        settings = copy.deepcopy(where)
        (settings[0] if isinstance(settings, list) else settings).update(checkpoint=path)
        return nn.Sequential(nn.ReLU(), ModuleList([BaseModule(settings)]))

    with pytest.raises(ValueError, match='holds more than a training writes'):
        read_pretrained(network(save(tmp_path, meta=Command(trace))))
    assert not trace.exists()
    read_pretrained(network(save(tmp_path)))
    for word in ('open-mmlab://msra/hrnetv2_w48', 'dino', None):
        read_pretrained(network(word))


def test_what_a_network_reads_in_its_own_way_is_its_own_affair(tmp_path):
    class Own(BaseModule):
        def init_weights(self):
            raise NotImplementedError

    (tmp_path / 'weights.npz').write_bytes(b'a format of its own')
    read_pretrained(Own(dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.npz'))))
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        read_pretrained(ResNet(18, pretrained=str(tmp_path / 'weights.npz')))


def test_a_path_object_and_odd_keys(tmp_path):
    assert Checkpoint.read(tmp_path / save(tmp_path)).name == 'file.pth'
    torch.save({1: torch.ones(2)}, tmp_path / 'odd.pth')
    assert Checkpoint.read(str(tmp_path / 'odd.pth')).state.keys() == {'1'}


@contextlib.contextmanager
def served(folder):
    """The URL of a folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()


def test_urls_that_end_in_one_name_are_two_files(tmp_path, monkeypatch):
    """torch.hub's cache has one name for them."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    names = ['a/net.pth', 'b/net.pth', 'net.pth']
    for value, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(dict(weight=torch.tensor([float(value)])), tmp_path / name)
    with served(tmp_path) as url:
        torch.hub.load_state_dict_from_url(f'{url}/{names[2]}', progress=False)
        for _ in range(2):  # downloaded, then out of the cache
            read = [read_file(f'{url}/{name}')['weight'].item() for name in names[:2]]
            assert read == [0, 1]
            for name in names[:2]:
                (tmp_path / name).unlink(missing_ok=True)
        queries = [f'{url}/net.pth?version={i}' for i in range(2)]
        assert [read_file(query)['weight'].item() for query in queries] == [2, 2]
        assert len(list((tmp_path / 'home' / 'hub' / 'checkpoints').iterdir())) == 5
        with pytest.raises(ValueError, match=r'c/net.pth cannot be downloaded \(HTTPError'):
            read_file(f'{url}/c/net.pth')
    # Without a network: what was downloaded, and what lies there by torch.hub's name, with a word.
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert read_file(f'{url}/b/net.pth')['weight'].item() == 1
    with pytest.warns(UserWarning, match=r'c/net.pth cannot be downloaded .* is read in its place. '
                      'Another URL that ends in this name may have left it there'):
        assert read_file(f'{url}/c/net.pth')['weight'].item() == 2
    with pytest.raises(ValueError, match=r'c/other.pth cannot be downloaded \(URLError'):
        read_file(f'{url}/c/other.pth')


def test_initial_weights_of_two_urls_that_end_in_one_name(tmp_path, monkeypatch):
    """Which mmengine loads, by torch.hub."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    found = []
    with served(tmp_path) as url:
        for value, folder in enumerate('ab'):
            model = ResNet(18, base_channels=8, pretrained=f'{url}/{folder}/net.pth')
            (tmp_path / folder).mkdir()
            torch.save({'conv1.weight': torch.full_like(model.conv1.weight, value)},
                       tmp_path / folder / 'net.pth')
            read_pretrained(model)
            model.init_weights()
            found.append(model.conv1.weight.unique().tolist())
        assert found == [[0], [1]]
        lost = ResNet(18, base_channels=8, pretrained=f'{url}/lost.pth')
        with pytest.raises(ValueError, match=r'lost.pth cannot be downloaded \(HTTPError'):
            read_pretrained(lost)
