"""From a trained checkpoint to fixed sizes, safetensors and ONNX, by the command lines."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model

from mmseg_dynopool.export import InferenceNetwork
from support.commands import tool, tool_process
from support.networks import scatter
from support.toys import write_project


@pytest.fixture(scope='module')
def trained(cityscapes, tmp_path_factory):
    """A project with a short training whose alphas have left 2, and its frozen form."""
    folder = tmp_path_factory.mktemp('project')
    write_project(folder, cityscapes)
    tool('train', 'my_dynopool_config.py', '--work-dir', 'run', cwd=folder)
    path = folder / 'run' / 'iter_3.pth'
    scatter(folder / 'my_dynopool_config.py', path,
            cityscapes / 'leftImg8bit' / 'train' / 'town', path)
    return folder, tool_process('freeze', 'my_dynopool_config.py', path, '--out', 'frozen',
                                cwd=folder)


def test_freeze_writes_what_trains_on_without_the_plugin_learning(trained, cityscapes):
    folder, printed = trained
    assert 'bit for bit' in printed and 'stream3: scale 0.' in printed
    assert sorted(p.name for p in (folder / 'frozen').iterdir()) == [
        'checkpoint.pth', 'config.py', 'weights.safetensors']
    cfg = Config.fromfile(folder / 'frozen' / 'config.py')
    assert cfg.model.type == 'EncoderDecoder' and cfg.custom_hooks == []
    assert cfg.load_from == str(folder / 'frozen' / 'checkpoint.pth')
    log = tool('train', 'frozen/config.py', '--work-dir', 'again', cwd=folder)
    assert 'Iter(train) [3/3]' in log and 'dynopool' not in log.split('Iter(train)')[1]
    state = torch.load(folder / 'again' / 'iter_3.pth', weights_only=False)['state_dict']
    start = torch.load(folder / 'frozen' / 'checkpoint.pth', weights_only=False)['state_dict']
    learned = torch.load(folder / 'run' / 'iter_3.pth', weights_only=False)['state_dict']
    assert list(state) == list(start) == list(learned)
    assert all(torch.equal(state[key], start[key]) == key.endswith('alpha') for key in state
               if state[key].is_floating_point() and state[key].ndim)
    assert [state[key].dtype for key in state if key.endswith('alpha')] == 3 * [torch.float64]
    # The learned sizes: another crop of the same network counts the same cost.
    costs = [tool('get_flops', config, weights, '--json', '--shape', 64, 96, cwd=folder)
             for config, weights in (('my_dynopool_config.py', 'run/iter_3.pth'),
                                     ('frozen/config.py', 'frozen/weights.safetensors'))]
    gmacs = [next(line for line in cost.splitlines() if '"gmacs"' in line) for cost in costs]
    assert gmacs[0] == gmacs[1]


def test_every_form_of_the_network_segments_alike(trained, cityscapes):
    folder, _ = trained
    printed = tool_process('export', 'my_dynopool_config.py', 'run/iter_3.pth', '--shape', 80, 144,
                   '--dynamic', '--out', 'net.onnx', cwd=folder)
    assert printed.count('max abs difference') == 4 and 'ok: net.onnx' in printed
    images = cityscapes / 'leftImg8bit' / 'val' / 'town'
    found = {}
    for name, config, weights in (
        ('learned', 'my_dynopool_config.py', 'run/iter_3.pth'),
        ('safetensors', 'frozen/config.py', 'frozen/weights.safetensors'),
            ('onnx', 'my_dynopool_config.py', 'net.onnx')):
        log = tool('infer', config, weights, images, '--out', name, cwd=folder)
        assert '4 images' in log and ('cost of one image' in log) == (name != 'onnx')
        found[name] = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                                for path in sorted((folder / name / 'labels').iterdir())])
    assert np.array_equal(found['learned'], found['safetensors'])
    assert (found['learned'] == found['onnx']).mean() > 0.999
    assert len(np.unique(found['learned'])) > 1


def test_a_fixed_file_is_written_beside_the_checkpoint(trained):
    folder, _ = trained
    printed = tool('export', 'frozen/config.py', 'frozen/checkpoint.pth', '--shape', 48, 64,
                   '--format', 'torch-export', cwd=folder)
    assert 'ok: frozen/checkpoint.pt2' in printed
    program = torch.export.load(folder / 'frozen' / 'checkpoint.pt2')
    model = init_model(str(folder / 'frozen' / 'config.py'),
                       str(folder / 'frozen' / 'checkpoint.pth'), 'cpu')
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image), InferenceNetwork(model)(image))
    printed = tool('freeze', 'frozen/config.py', 'frozen/checkpoint.pth', '--out', 'twice',
                   cwd=folder, ok=False)
    assert 'frozen already' in printed and not (folder / 'twice').exists()


def test_a_file_that_takes_resized_images_segments_alike(trained, cityscapes):
    folder, _ = trained
    (folder / 'image_config.py').write_text(
        "_base_ = './my_dynopool_config.py'\n"
        'model = dict(backbone=dict(dynopool=dict(image=True, scale=dict(image=(0.7, 0.8)))))\n')
    printed = tool('export', 'image_config.py', 'run/iter_3.pth', '--shape', 80, 144,
                   '--resized-input', '--out', 'resized.onnx', cwd=folder)
    assert '1 x 3 x 56 x 116: max abs difference' in printed
    assert 'takes resized images: 56 x 116 of 80 x 144, by 0.7 x 0.8 to multiples of 4' in printed
    found = []
    for weights in ('run/iter_3.pth', 'resized.onnx'):
        out = folder / f'of {weights}'
        tool('infer', 'image_config.py', weights, cityscapes / 'leftImg8bit' / 'val' / 'town',
             '--out', out, cwd=folder)
        found.append(np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                               for path in sorted((out / 'labels').iterdir())]))
    assert (found[0] == found[1]).mean() > 0.98  # the file's logits are resized twice
    assert len(np.unique(found[0])) > 1
