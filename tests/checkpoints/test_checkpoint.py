"""Checkpoints verified against a network, and read once."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmseg_dynopool import checkpoints
from mmseg_dynopool.checkpoints import Checkpoint, load_network
from mmseg_dynopool.export import freeze_checkpoint
from support.networks import learned
from support.parts_network import PartsSegmentor, parts_config
from support.runs import segmentor, train
from support.toys import segmentor_config


def of(model, **content):
    return Checkpoint('file.pth', dict(state_dict=model.state_dict(), **content))


@pytest.fixture(scope='module')
def model():
    return learned()


def test_only_a_part_is_compared(model):
    state = {key: value for key, value in model.state_dict().items()
             if not key.startswith('decode_head')}
    checkpoint = Checkpoint('file.pth', dict(state_dict=state))
    checkpoint.verify(model, part='backbone.')
    with pytest.raises(ValueError, match=r'decode_head.conv_seg.weight is missing'):
        checkpoint.verify(model)


def test_a_number_of_another_shape_is_named(model):
    state = dict(model.state_dict())
    name = 'decode_head.conv_seg.weight'
    state[name] = state[name][:2]
    with pytest.raises(ValueError, match=rf'1 of another shape \({name} is \(2, 16, 1, 1\), not '
                       r'\(3, 16, 1, 1\)\)'):
        Checkpoint('file.pth', dict(state_dict=state)).verify(model)


def test_an_array_in_the_place_of_a_weight_is_refused(model):
    """mmengine would pass it over, and leave the weight random."""
    state = dict(model.state_dict())
    name = 'decode_head.conv_seg.weight'
    state[name] = state[name].numpy()
    with pytest.raises(ValueError, match=rf"{name} is \('ndarray',\), not \(3, 16, 1, 1\)"):
        Checkpoint('file.pth', dict(state_dict=state)).verify(model)


def test_a_start_from_images_of_fewer_channels_loads_the_rest(monkeypatch):
    """As mmengine does, into a network whose image has a fourth channel, and a layer more."""
    three, four = (nn.Sequential(nn.Conv2d(channels, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
                   for channels in (3, 4))
    four.append(nn.Conv2d(2, 2, 1))
    before = {key: value.clone() for key, value in four.state_dict().items()}
    checkpoint = of(three)
    said = []
    monkeypatch.setattr(checkpoints.checkpoint, 'print_log', lambda text, **_: said.append(text))
    checkpoint.verify(four, partly=True)
    assert said == [
        'file.pth does not have all weights: 2 weights missing and 1 of another shape (3.weight is '
        'missing; 3.bias is missing; 0.weight is (2, 3, 3, 3), not (2, 4, 3, 3)). These start '
        'anew, 7 others are loaded']
    checkpoint.load_into(four)
    for key, value in four.state_dict().items():
        source = before if key in ('0.weight', '3.weight', '3.bias') else three.state_dict()
        assert torch.equal(value, source[key]), key
    with pytest.raises(ValueError, match='a checkpoint of another architecture: 2 weights missing'):
        checkpoint.verify(four)
    nothing = Checkpoint('file.pth', {f'trunk.{k}': v for k, v in three.state_dict().items()})
    with pytest.raises(ValueError, match='a checkpoint of another architecture: 10 weights'):
        nothing.verify(four, partly=True)


def test_a_diverged_training_is_named(model):
    for name, value, refused in (('backbone.dynopools.stream2.alpha', float('inf'), True),
                                 ('backbone.conv1.weight', float('nan'), True),
                                 ('backbone.conv1.weight', float('inf'), False)):
        state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        state[name].view(-1)[0] = value
        checkpoint = Checkpoint('file.pth', dict(state_dict=state))
        if refused:
            with pytest.raises(ValueError, match=rf'NaN or infinity in 1 weights \({name}\)'):
                checkpoint.verify(model)
        else:
            checkpoint.verify(model)


def test_weights_alone_are_no_training(model):
    with pytest.raises(ValueError, match='holds weights alone, no training to go on with'):
        of(model).verify(model, resume=True)
    for part in ('optimizer', 'meta'):
        with pytest.raises(ValueError, match='holds weights alone, no training to go on with'):
            of(model, **{part: {}}).verify(model, resume=True)
    of(model, optimizer={}, meta={}).verify(model, resume=True)


@pytest.mark.parametrize('meta, classes', [
    (dict(dataset_meta=dict(classes=('a', 'b', 'c'), palette=[[0] * 3] * 3)), ('a', 'b', 'c')),
    (dict(CLASSES=('d', 'e', 'f'), PALETTE=[[0] * 3] * 3), ('d', 'e', 'f')),
    ({}, ('background', 'grey matter', 'white matter')),
])
def test_classes_are_the_checkpoints_else_the_data_sets(model, meta, classes):
    cfg = Config(dict(model=segmentor_config(), test_dataloader=dict(
        dataset=dict(type='MNI152TissueDataset'))))
    loaded = load_network(cfg, of(model, meta=meta))
    assert tuple(loaded.dataset_meta['classes']) == classes
    assert len(loaded.dataset_meta['palette']) == 3
    assert not loaded.training and cfg.model.get('train_cfg') == {}  # the config is left alone
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


@pytest.fixture
def counts(monkeypatch):
    """How many files are read and models built."""
    counts = dict(files=0, models=0)

    def counted(kind, function):
        def call(*args, **kwargs):
            counts[kind] += 1
            return function(*args, **kwargs)
        return call

    monkeypatch.setattr(checkpoints.checkpoint, 'read_file', counted(
        'files', checkpoints.checkpoint.read_file))
    monkeypatch.setattr(checkpoints.load, '_build', counted(
        'models', checkpoints.load._build))
    return counts


def test_freezing_reads_the_checkpoint_once(model, tmp_path, counts):
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(
        classes=('a', 'b', 'c'), palette=[[0] * 3] * 3))), tmp_path / 'file.pth')
    scales = freeze_checkpoint(Config(dict(model=segmentor_config())),
                               str(tmp_path / 'file.pth'), tmp_path / 'out')
    assert counts == dict(files=3, models=2)  # and each of the two files that it wrote
    assert scales == {name: pool.scale.tolist()
                      for name, pool in model.backbone.dynopools.items()}
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'checkpoint.pth', 'config.py', 'weights.safetensors']
    frozen = load_network(Config.fromfile(tmp_path / 'out' / 'config.py'),
                            str(tmp_path / 'out' / 'checkpoint.pth'))
    assert tuple(frozen.dataset_meta['classes']) == ('a', 'b', 'c')


def test_files_that_differ_are_not_kept(model, tmp_path, monkeypatch):
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'file.pth')
    from mmseg_dynopool.export import frozen_files
    save = frozen_files.save_safetensors
    monkeypatch.setattr(frozen_files, 'save_safetensors', lambda state, path, meta: save(
        {key: value + 1e-6 if key.endswith('conv1.weight') else value
         for key, value in state.items()}, path, meta))
    with pytest.raises(RuntimeError, match='differs from the trained network'):
        freeze_checkpoint(Config(dict(model=segmentor_config())), str(tmp_path / 'file.pth'),
                          tmp_path / 'out')
    assert list((tmp_path / 'out').iterdir()) == []


def test_the_runner_loads_what_was_read_already(tmp_path, counts):
    first = train(tmp_path / 'first', segmentor(), 2)
    path = str(tmp_path / 'first' / 'iter_2.pth')
    checkpoint = Checkpoint.read(path)
    second = train(tmp_path / 'second', segmentor(), 4, resume=path, checkpoint=checkpoint)
    assert counts['files'] == 1 and second.iter == 4 and second.checkpoint is None
    third = train(tmp_path / 'third', segmentor(), 4, resume=path,
                  checkpoint=Checkpoint('another.pth', {}))
    assert counts['files'] == 2 and third.iter == 4 and third.checkpoint is None
    assert first.iter == 2


def test_a_network_gets_no_argument_that_its_class_does_not_take():
    """And no initial weights, of which it needs none; the caller's config is left alone."""
    network = load_network(parts_config(), None)
    assert type(network) is PartsSegmentor and network.cfg.model == parts_config().model
    cfg = Config(dict(model=dict(segmentor_config(), pretrained='lost.pth',
                                 train_cfg=dict(sampler=1))))
    network = load_network(cfg, None)
    assert (network.cfg.model.pretrained, network.train_cfg) == (None, dict(sampler=1))
    assert 'lost.pth' not in str(network.backbone.init_cfg)
    assert cfg.model.pretrained == 'lost.pth' and not network.training
