"""The studies of the image level and of fit: their runs, and the tables of their pages."""

import json
import statistics

import pytest

from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.learning import ScaleLearner
from study import fit_page, fit_runs, image_page, image_runs
from study.candidates import describe, load
from study.lines import read_lines
from study.runs import Run
from study.tables import BEGIN, END
from support.toys import ROOT

LINES = ROOT / 'docs' / 'image_level' / 'runs.jsonl'
STUDIES = dict(image_level=(image_page, image_runs), fit=(fit_page, fit_runs))


@pytest.mark.parametrize('name', STUDIES)
def test_the_page_is_written_from_the_lines(name):
    page = (ROOT / 'docs' / f'{name}.md').read_text()
    written = page[page.index(BEGIN) + len(BEGIN) + 1:page.index(END)]
    assert written == STUDIES[name][0].tables(
        read_lines(ROOT / 'docs' / name / 'runs.jsonl'),
        read_lines(ROOT / 'docs/evidence/runs.jsonl'))


def test_a_score_is_the_mean_over_its_seeds():
    done = read_lines(LINES)
    scores = [line['miou'] for line in done.values() if (
        line['network'], line['data'], line['method'], line['target_ratio'], line['options']) == (
            'deeplab', 'stretched_h', 'learner', 0.5, dict(image_runs.LEARNED))]
    assert len(scores) == 3
    row = next(line for line in image_page.tables(done, {}).splitlines()
               if line.startswith('| DeepLab'))
    assert f'{statistics.fmean(scores):.2f} ± {statistics.stdev(scores):.2f}' in row


@pytest.mark.parametrize('name', STUDIES)
def test_finished_runs_are_listed_and_met_their_budgets(name):
    keys = {run.key for run in STUDIES[name][1].all_runs()}
    for text in (ROOT / 'docs' / name / 'runs.jsonl').read_text().splitlines():
        line = json.loads(text)
        assert line['key'] in keys
        # Aligned sizes are few.
        near = 0.02 if line['method'] == 'learner' and name != 'fit' else 0.1
        dearer = line['method'] == 'spaced' and not {'image', 'size'} & set(line['options'])
        if line['method'] != 'time' and not dearer:
            assert line['gmacs_ratio'] == pytest.approx(line['target_ratio'], rel=near), line['key']


def test_the_opponents_of_the_image_level():
    """Their sizes: aligned, of the image's aspect, near the cost; shrunk along the plan."""
    config = load(*describe(Run('hrnet', 'isotropic', 'aligned', 0.5, 0)))
    size = config.model.data_preprocessor.size
    assert size == (88, 88) and config.train_dataloader.dataset.pipeline[1].scale == (88, 88)
    config = load(*describe(Run('hrnet', 'isotropic', 'planned', 0.5, 0)))
    assert config.model.dynopool == dict(levels='image', multiple=8)
    hook, = config.custom_hooks
    assert (hook.travel, hook.jitter) == (0, 0)
    config = load(*describe(Run('demo', 'mni152_coronal_5', 'learner', 1., 0,
                                (*image_runs.THICK, ('jitter', 0.)))))
    assert config.model.data_preprocessor.size == (32, 160)
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == 1200
    # Its learned networks have the learner's default.
    for run in image_runs.all_runs():
        if run.method == 'learner' and run.options == image_runs.LEARNED:
            steps = load(*describe(run)).train_cfg.max_iters
            assert ScaleLearner(DynOPool(), steps).jitter == dict(run.options)['jitter']
    assert ScaleLearner(DynOPool(), 900).jitter == dict(image_runs.JITTERED)['jitter']
