"""The page of models and the metafile: whole, and what their lines say."""

import math
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmseg.registry import MODELS

from study import models
from study.models_page import metafile, page, read_measured, read_scores
from support.toys import ROOT

DEMO = 'demo_fixed_mni152.py'


def test_the_page_and_the_metafile_are_written_from_the_lines():
    assert (ROOT / 'docs' / 'models.md').read_text() == page()
    assert (ROOT / 'configs' / 'metafile.yml').read_text() == metafile()


def test_every_config_has_a_row():
    configs = {str(path.relative_to(ROOT / 'configs')) for path in (ROOT / 'configs').rglob('*.py')
               if '_base_' not in path.parts}
    assert {name for name, _ in read_measured()} == configs
    assert all(f'| `{name}` |' in page() for name in configs)
    listed = {Path(model['Config']) for model in yaml.safe_load(metafile())['Models']}
    assert {ROOT / path for path in listed} == {ROOT / 'configs' / name for name in configs}


def test_the_goal_is_what_the_training_hook_says():
    told = {name: models.goal(Config.fromfile(ROOT / 'configs' / name,
                                              import_custom_modules=False))
            for name, _ in read_measured()}
    assert told == {name: line['goal'] for (name, _), line in read_measured().items()}
    assert told['unet_dynopool_cityscapes.py'] == '50%'
    assert told['classification/vgg16_dynopool_s_cifar100.py'] == 'weight 0.00022'


def test_scores_have_three_seeds():
    assert {name: len(score['values']) for name, score in read_scores().items()} == dict.fromkeys(
        (DEMO, 'evidence_hrnet_fashion.py', 'evidence_deeplabv3plus_r18_fashion.py',
         'classification/evidence_vgg_fashion.py'), 3)


@pytest.mark.slow
def test_measuring():
    """Parameters as the network has them; the memory at least that of its largest gradients."""
    line = models.measure(DEMO, 'cpu', repeats=2)
    network = MODELS.build(Config.fromfile(ROOT / 'configs' / DEMO).model)
    assert line['params'] == sum(math.prod(p.shape) for p in network.parameters())
    committed = {name: each for (name, _), each in read_measured().items()}[DEMO]
    same = ('params', 'gmacs', 'shape', 'data', 'network', 'goal', 'segments')
    assert [line[key] for key in same] == [committed[key] for key in same]
    assert line['ms'] > 0
    assert line['train_mib'] > 4 * line['params'] / 2**20  # the gradients alone
