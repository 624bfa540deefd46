"""tools/analyze_dataset.py, end to end."""

import json

import cv2
import pytest

from support.commands import tool
from support.toys import write_cityscapes, write_project


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('analysis')
    write_cityscapes(folder / 'data', count=6)
    write_project(folder, folder / 'data')
    return folder


def test_tables_and_picture(project, tmp_path):
    out = tmp_path / 'made' / 'curves.png'
    printed = tool('analyze_dataset', 'my_hrnet_config.py', '--out', out, cwd=project)
    for words in ('energy above what a scale keeps', '1/32', 'keeps 95 %', 'boundaries of classes',
                  'as long in height as in width',
                  "to undo this, start with\n  dynopool=dict(image=True, scale={'image': ("):
        assert words in printed
    assert cv2.imread(str(out)).shape[1] > 900


def test_json_of_the_other_split(project):
    printed = tool('analyze_dataset', 'my_hrnet_config.py', '--split', 'val', '--images', 4,
                   '--json', cwd=project)
    found, _ = json.JSONDecoder().raw_decode(printed[printed.index('{'):])
    assert found['images'] == 4 and found['mean_size'] == [80, 144]
    # Its rectangles are 20 pixels high and 30 wide.
    assert found['label']['stretch'] == pytest.approx(20 / 30, rel=0.15)
    h, w = found['starting_scales']['image']
    assert h > 1 > w


def test_scales_of_the_networks_own_levels(project):
    """Of an HRNet whose image keeps its size, and of one whose image must not grow."""
    found = {}
    for option in ('stem=False', 'image=True model.backbone.dynopool.bounds.image=0.25,1.0'):
        printed = tool('analyze_dataset', 'my_dynopool_config.py', '--images', 4, '--json',
                       '--cfg-options', *f'model.backbone.dynopool.{option}'.split(), cwd=project)
        result, _ = json.JSONDecoder().raw_decode(printed[printed.index('{'):])
        found |= result['starting_scales']
    assert list(found) == ['stream1', 'stream2', 'stream3', 'image']
    assert found['image'][0] == 1 > found['image'][1] and found['stream1'][0] > 0.5


def test_an_empty_data_set_is_named(project):
    empty = project / 'empty'
    empty.mkdir()
    printed = tool('analyze_dataset', 'my_hrnet_config.py', '--cfg-options',
                   f'train_dataloader.dataset.data_prefix.img_path={empty}', cwd=project, ok=False)
    assert 'error: train_dataloader: the data set is empty' in printed
