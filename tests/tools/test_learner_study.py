"""The studies of the learner and of the image level: their runs, and the tables of their pages."""

import json
import statistics

import pytest

from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.learning import ScaleLearner
from study import fit_page, fit_runs, image_page, image_runs, learner_page, learner_runs
from study.candidates import describe, load
from study.learner_page import BEGIN, END, tables
from study.learner_runs import CANDIDATES
from study.lines import read_lines
from study.runs import Run
from support.toys import ROOT

LINES = ROOT / 'docs' / 'learner' / 'runs.jsonl'
STUDIES = dict(learner=(learner_page, learner_runs), image_level=(image_page, image_runs),
               fit=(fit_page, fit_runs))


@pytest.mark.parametrize('name', STUDIES)
def test_the_page_is_written_from_the_lines(name):
    page = (ROOT / 'docs' / f'{name}.md').read_text()
    written = page[page.index(BEGIN) + len(BEGIN) + 1:page.index(END)]
    assert written == STUDIES[name][0].tables(
        read_lines(ROOT / 'docs' / name / 'runs.jsonl'),
        read_lines(ROOT / 'docs/evidence/runs.jsonl'))


def test_a_score_is_the_mean_over_its_seeds():
    done = read_lines(LINES)
    network, data, ratio = CANDIDATES[0]
    scores = [line['miou'] for line in done.values() if (
        line['network'], line['data'], line['method'], line['target_ratio'], line['options']) == (
            network, data, 'learner', ratio, dict(jitter=0.))]
    row = next(line for line in tables(done, {}).splitlines() if line.startswith('| DeepLab'))
    assert f'{statistics.fmean(scores):.2f} ± {statistics.stdev(scores):.2f}' in row


@pytest.mark.parametrize('name', STUDIES)
def test_finished_runs_are_listed_and_met_their_budgets(name):
    keys = {run.key for run in STUDIES[name][1].all_runs()}
    for text in (ROOT / 'docs' / name / 'runs.jsonl').read_text().splitlines():
        line = json.loads(text)
        assert line['key'] in keys
        # Aligned sizes are few.
        near = 0.02 if line['method'] == 'learner' and name != 'fit' else 0.1
        dearer = (line['method'] == 'spaced' and 'image' not in line['options']) or line[
            'options'].get('size') == '160x160'  # what others do, whatever it costs
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


def test_options_reach_the_hook_and_the_optimizer():
    options = (('optimizer', 'Lion'), ('clip', 1.), ('every', 4), ('jitter', 0.2), ('begin', 0.),
               ('reach', 0.2))
    config = load(*describe(Run('hrnet', 'stretched_h', 'learner', 0.5, 0, options)))
    hook, = config.custom_hooks
    assert (hook.type, hook.every, hook.jitter) == ('DynOPoolHook', 4, 0.2)
    assert (hook.gmacs_budget.begin, hook.gmacs_budget.reach) == (0.0, 0.2)
    assert config.optim_wrapper.optimizer.type == 'Lion'
    assert config.optim_wrapper.clip_grad.max_norm == 1.0
    config = load(*describe(Run('hrnet', 'stretched_h', 'learner', 0.5, 0, (('shrink', False), ))))
    assert config.custom_hooks[0].type == 'UnshrunkHook'
    config = load(*describe(Run('hrnet', 'stretched_h', 'jittered', 0.5, 0, (('jitter', 0.1), ))))
    hook, = config.custom_hooks
    assert (hook.gradient, hook.travel, hook.jitter) == ('learner', 0.0, 0.1)
    assert config.model.backbone.dynopool.scale['stem1'][0] == pytest.approx(0.4413, abs=1e-3)
