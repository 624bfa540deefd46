"""A trained network is fitted to a cost by one command."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS

from mmseg_dynopool.analysis.evaluation import AREAS, Evaluation
from mmseg_dynopool.data.listing import without_wrappers
from mmseg_dynopool.fit import write
from mmseg_dynopool.fit.fitting import Fitting, FittingOptions, Tuned
from mmseg_dynopool.fit.page import draw_frontier, verdict
from mmseg_dynopool.fit.settings import fine_tuning_config, resized_config
from mmseg_dynopool.search.image_sizes import ImageSize
from support.commands import tool
from support.toys import write_project


@pytest.fixture(scope='module')
def trained(cityscapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp('fit')
    write_project(folder, cityscapes)
    tool('train', 'my_hrnet_config.py', '--work-dir', 'run', cwd=folder)
    return folder


def fit(folder, *options, out='fitted', ok=True):
    return tool('fit', 'my_hrnet_config.py', 'run/iter_3.pth', '--out', out, '--iterations', 3,
                '--batches', 2, '--candidates', 1, '--held', 0.25, *options, cwd=folder, ok=ok)


def test_it_writes_a_network_that_mmseg_runs_at_half_the_cost(trained, cityscapes, monkeypatch):
    folder, printed = trained, fit(trained, '--gmacs', 0.5)
    assert 'ok: config.py, checkpoint.pth, weights.safetensors, report.html' in printed
    said = json.loads((folder / 'fitted' / 'fitted.json').read_text())
    assert said['cost'] <= 0.51 * said['stock_cost']
    assert all(side % 8 == 0 for side in said['size'])
    model = init_model(str(folder / 'fitted/config.py'), str(folder / 'fitted/checkpoint.pth'),
                       device='cpu')
    resize = model.backbone.dynopools['image']
    assert resize.scale.tolist() == pytest.approx(said['scale'])
    assert not any('dynopool' in name for name, p in model.named_parameters())
    image = next((cityscapes / 'leftImg8bit' / 'val').rglob('*.png'))
    assert inference_model(model, str(image)).pred_sem_seg.data.ndim == 3
    page = (folder / 'fitted' / 'report.html').read_text()
    assert '{} x {}'.format(*said['size']) in page and f'{said["score_after"]:.2f}' in page
    # Tuned: from the trained weights, but not at them.
    start = torch.load(folder / 'run/iter_3.pth', weights_only=False)['state_dict']
    end = torch.load(folder / 'fitted/checkpoint.pth', weights_only=False)['state_dict']
    assert set(start) == {key for key in end if not key.endswith('.alpha')}
    moved = (end['backbone.conv1.weight'] - start['backbone.conv1.weight']).abs().max()
    assert 0 < moved < 0.1
    # What is judged on is not trained on.
    for config in (folder / 'fitted' / 'candidates').glob('*/third.py'):
        cfg = Config.fromfile(config)
        trained_on, = without_wrappers(cfg.train_dataloader.dataset)
        assert cfg.val_dataloader is None and len(trained_on.indices) >= 1
    assert 'What changed most' in page and page.count('<p>Before</p>') >= 1
    # A second call does nothing again but the report, which a program that is refused leaves there.
    before = {path: path.stat().st_mtime_ns for path in (folder / 'fitted').rglob('*.pth')
              if 'candidates' in str(path)}
    end_files = [folder / 'fitted' / name for name in write.FILES]
    for path in end_files:
        path.unlink()

    def refuse(model, path, shape, dynamic, resized_input):
        assert path == folder / 'fitted/network.onnx' and shape == (64, 64)
        assert dynamic and resized_input
        raise ValueError('refused')

    monkeypatch.setattr(write, 'export_program', refuse)
    again = fit(folder, '--gmacs', 0.5, '--onnx', '--resized-input', out=folder / 'fitted',
                ok=False)
    assert 'refused' in again and all(path.is_file() for path in end_files)
    assert before and before == {path: path.stat().st_mtime_ns for path in (
        folder / 'fitted').rglob('*.pth') if 'candidates' in str(path)}
    assert [line for line in again.splitlines() if ' x ' in line] == [
        line for line in printed.splitlines() if ' x ' in line]
    # One with other options has no place there.
    assert 'holds a fit with other options' in fit(folder, '--gmacs', 0.5, '--seed', 3, ok=False)


def test_all_levels(trained):
    fit(trained, '--gmacs', 0.5, '--levels', 'all', '--no-baseline', '--plan', out='levels')
    tried = json.loads((trained / 'levels' / 'search.json').read_text())['0.5 gmacs']['tried']
    inner = [size for size in tried if size['inner']]
    assert inner and len(inner) < len(tried)
    levels = {level.rpartition('.')[2] for size in inner for level in size['inner']}
    assert levels == {'stride4', 'stride8', 'stride16', 'stride32'}
    # One of them as a config of constant sizes: the layers keep their strides.
    chosen, cfg = inner[0], Config.fromfile(trained / 'my_hrnet_config.py')
    (level, scale), = chosen['inner'].items()
    model = MODELS.build(resized_config(cfg, chosen['scale'], 8, {
        level.rpartition('.')[2]: scale}).model)
    pools = model.backbone.dynopools
    assert pools[level.rpartition('.')[2]].scale.tolist() == pytest.approx(scale)
    assert sum(min(pool.scale.tolist()) < 1 for name, pool in pools.items() if name != 'image') == 1
    assert not any(name.endswith('alpha') for name, _ in model.named_parameters())


def evaluation(accuracy, seed):
    """Of 60 images of two classes, whose accuracies scatter by a tenth around a mean."""
    draw = np.random.default_rng(seed)
    right = np.clip(accuracy + 0.1 * draw.standard_normal((60, 2)), 0, 1) * 1000
    truth = np.full((60, 2), 1000.0)
    predicted = right + (1000 - right)[:, ::-1]
    return Evaluation([], [], [], right, predicted + truth - right, predicted, truth, None)


def test_the_noise_of_a_difference_is_that_of_its_images():
    one, other = evaluation(0.5, 0), evaluation(0.6, 1)
    behind, noise = one.behind(other)
    assert behind == pytest.approx(other.score() - one.score()) and behind > 5
    # IoU = r / (2000 - r) for accuracies r near to each other; d IoU / d r = 200 / (2 - r)^2 %,
    # r a mean of 120 numbers.
    expected = np.hypot(*(100 * 2 / (2 - r) ** 2 * 0.1 / 120 ** 0.5 for r in (0.5, 0.6)))
    assert noise == pytest.approx(expected, rel=0.25)
    assert one.behind(one) == (0.0, 0.0)
    single = [Evaluation([], [], [], *(getattr(each, name)[:1] for name in AREAS), None)
              for each in (one, other)]
    assert single[0].behind(single[1])[1] == float('inf')


@pytest.mark.parametrize('accuracies, losses, order', [
    ((0.50, 0.60, 0.40), (1.0, 1.1, 0.9), [1, 0, 2]),  # the score decides
    ((0.600, 0.602, 0.40), (1.0, 1.1, 0.9), [0, 1, 2])])  # alike: the loss decides
def test_what_the_short_trainings_do_not_tell_apart_the_search_decides(
        monkeypatch, accuracies, losses, order):
    monkeypatch.setattr(Fitting, 'job', lambda self, one: SimpleNamespace(is_done=True))
    monkeypatch.setattr(Fitting, '_judge', lambda self, one, job: evaluation(
        accuracies[one.number], 5))
    # Losses on batches of their own tell nothing; how much each was behind in the race does.
    tuned = [Tuned(ImageSize((8, 8), (1., 1.), 1.), -loss, loss, 0.) for loss in losses]
    for number, one in enumerate(tuned):
        one.number = number
    fitting = object.__new__(Fitting)
    fitting.options = FittingOptions()
    monkeypatch.setattr(Evaluation, 'behind', lambda one, best: (best.score() - one.score(), 1.0))
    assert [one.number for one in fitting.compare(tuned)] == order


@pytest.mark.parametrize('untouched, tuned, end', [
    (0.6, 0.5, 'trained.pth'), (0.601, 0.600, 'iter_3.pth'), (0.5, 0.6, 'iter_3.pth')])
def test_a_fine_tuning_that_only_harms_is_left_out(monkeypatch, untouched, tuned, end):
    job = SimpleNamespace(is_done=True, checkpoint='iter_3.pth')
    monkeypatch.setattr(Fitting, 'job', lambda self, one, whole: job)
    monkeypatch.setattr(Fitting, '_judge', lambda self, one, job=None: evaluation(
        *((tuned, 5) if job else (untouched, 6))))
    fitting = object.__new__(Fitting)
    fitting.checkpoint = 'trained.pth'
    assert fitting.finish(None) == end
    told = verdict(SimpleNamespace(untouched=end == 'trained.pth', plain=None, tuned=[None]))
    assert ('has the trained weights' in told) == (end == 'trained.pth')


def test_several_targets_are_one_frontier():
    def fitted(ms, score):
        return SimpleNamespace(
            ms=20.0, time=ms / 20, before=SimpleNamespace(score=lambda: 80.0),
            after=SimpleNamespace(score=lambda: score, score_name='mIoU'),
            tuned=[SimpleNamespace(size=ImageSize((64, 32), (0.5, 0.5), 1.0))])

    axis, = draw_frontier([fitted(10, 75.0), fitted(5, 70.0)]).axes
    line, trained = axis.lines
    assert line.get_xydata().tolist() == [[5, 70], [10, 75]]  # by time
    assert trained.get_xydata().tolist() == [[20, 80]]
    assert axis.get_ylabel() == 'mIoU (%)'


def test_a_plan_for_a_scheduler(trained):
    printed = fit(trained, '--gmacs', 0.6, 0.8, '--no-baseline', '--plan', out='planned')
    commands = (trained / 'planned' / 'commands.txt').read_text().splitlines()
    assert 'call this again' in printed and len(set(commands)) == 2  # one of each target
    assert all(str(trained.resolve() / 'planned/candidates') in line for line in commands)
    assert all('mmseg_dynopool train' in line and '--resume' in line for line in commands)
    assert '--array=1-' in (trained / 'planned' / 'array.sh').read_text()


def test_a_call_that_failed_leaves_nothing_in_the_way(trained):
    """Of what it was given: a checkpoint that is no such network's, a setting that does not train.
    """
    folder = trained / 'again'
    folder.mkdir()
    cfg = Config.fromfile(trained / 'my_hrnet_config.py')
    Fitting(cfg, 'lost.pth', folder)
    size = Tuned(ImageSize((32, 64), (0.5, 0.5), 1.0), 0.0, 0.0, 0.0)
    for kind in ('NoSuchOptimizer', 'AdamW'):
        cfg.optim_wrapper.optimizer.type = kind
        fitting = Fitting(cfg, str(trained / 'run/iter_3.pth'), folder, FittingOptions(
            iterations=3, held=0.25, multiple=8))
        job = fitting.job(size)
        assert Config.fromfile(job.config).optim_wrapper.optimizer.type == kind
    with pytest.raises(ValueError, match='holds a fit with other checkpoint'):
        Fitting(cfg, 'lost.pth', folder)
    # Nor is what was trained otherwise taken for a result; the same file may be named otherwise.
    job.checkpoint.touch()
    fitting.job(size)
    cfg.optim_wrapper.optimizer.lr = 7.0
    fitting = Fitting(cfg, str(trained / 'again/../run/iter_3.pth'), folder, fitting.options)
    with pytest.raises(ValueError, match='was trained with another optim_wrapper or'):
        fitting.job(size)


@pytest.mark.parametrize('known, images', [(None, range(4)), (3, range(3)), ([2, 3], [2, 3])])
def test_images_are_held_back_of_those_that_are_trained_on(trained, known, images):
    cfg = Config.fromfile(trained / 'my_hrnet_config.py')
    dataset, = without_wrappers(cfg.train_dataloader.dataset)
    if known is not None:
        dataset['indices'] = known
    tuned = fine_tuning_config(cfg, 'x.pth', 3, held=0.25)
    rest, held = (without_wrappers(loader.dataset)[0]['indices']
                  for loader in (tuned.train_dataloader, tuned.val_dataloader))
    assert sorted([*rest, *held]) == list(images) and len(held) == 1


@pytest.mark.parametrize('options, words', [
    (('--gmacs', 0.0001), 'are out of reach: the network costs'),
    (('--target', 0.5, '--latency', 'none.json'), "there is no file 'none.json'"),
    (('--gmacs', 0.5, '--held', 0.9999), 'no images can be held back'),
    (('--gmacs', 0.5, '--cfg-options', 'val_dataloader=None'), 'has no val_dataloader, on whose'),
    (('--gmacs', 0.5, '--resized-input'), '--resized-input is of --onnx'),
    (('--size', 50, 70), 'an image of 50 x 70 is not within reach: sides are multiples of 8'),
    (('--size', 640, 640), 'is not within reach')])
def test_what_cannot_be_fitted(trained, options, words):
    assert words in fit(trained, *options, out=f'refused_{abs(hash(options))}', ok=False)


def test_what_is_no_trained_network_with_data(trained):
    write = (trained / 'my_hrnet_config.py').read_text()
    (trained / 'wider.py').write_text(write + "\nmodel['decode_head']['channels'] = 7\n")
    (trained / 'dataless.py').write_text(write + '\ntrain_dataloader = None\n')
    for config, words in (('wider.py', 'decode_head'),
                          ('dataless.py', 'has no train_dataloader, and a search needs images')):
        printed = tool('fit', config, 'run/iter_3.pth', '--out', config[:-3], '--gmacs', 0.5,
                       '--iterations', 3, cwd=trained, ok=False)
        assert words in printed
    fixed = tool('fit', 'my_hrnet_config.py', 'run/iter_3.pth', '--out', 'sized', '--size', 64, 96,
                 cwd=trained)
    assert 'ok: ' in fixed and 'a fine-tuning makes better' in fixed
    sized = Config.fromfile(trained / 'sized' / 'config.py')
    network = MODELS.build(sized.model)
    level = network.backbone.dynopools['image']
    assert level.output_size(sized.model.data_preprocessor.size) == (64, 96)
