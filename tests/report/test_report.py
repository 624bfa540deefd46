"""The report's page: its numbers are those of the data, and it needs nothing but itself."""

import base64
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.apis import inference_model
from mmseg.registry import MODELS

from mmseg_dynopool.analysis.recipe import recipe
from mmseg_dynopool.analysis.work_dir import read_run
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.costs import count_gmacs
from mmseg_dynopool.costs.budget import Outcome
from mmseg_dynopool.models import DynOPoolHRNet, count_network_gmacs
from mmseg_dynopool.report.collect import collect
from mmseg_dynopool.report.page import make_page, run_report
from support.pages import Page


@pytest.fixture(scope='module')
def both(trained):
    """The report of the learned network beside the stock one, its data and its page."""
    folder, _ = trained
    data = collect(read_run(folder / 'learned'), [read_run(folder / 'stock')], None, 2, 3, 'cpu')
    return data, Page(make_page(data))


def rows(page, label):
    """The rows of a table, by their first cell."""
    return {row[0]: row[1:] for row in page.tables[label][1:]}


def reference_iou(folder, config, checkpoint, cityscapes):
    """IoU by class in percent over all images, from label maps and mmseg's inference."""
    model = load_network(Config.fromfile(folder / config), str(folder / checkpoint))
    model.cfg.test_pipeline = model.cfg.test_dataloader.dataset.pipeline
    inter, union = np.zeros(19), np.zeros(19)
    for path in sorted(cityscapes.glob('leftImg8bit/val/town/*.png')):
        truth = cv2.imread(str(path).replace('leftImg8bit/', 'gtFine/').replace(
            'leftImg8bit', 'gtFine_labelTrainIds'), cv2.IMREAD_UNCHANGED)
        label = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        for k in range(19):
            a, b = (label == k) & (truth != 255), truth == k
            inter[k] += (a & b).sum()
            union[k] += (a | b).sum()
    return dict(zip(model.dataset_meta['classes'], 100 * inter / np.where(union, union, np.nan)))


def test_iou_by_class_is_that_of_the_label_maps(both, trained, cityscapes):
    folder, metrics = trained
    page = both[1]
    found = rows(page, 'IoU by class')
    own = reference_iou(folder, 'my_dynopool_config.py', 'learned/iter_20.pth', cityscapes)
    base = reference_iou(folder, 'my_hrnet_config.py', 'stock/iter_20.pth', cityscapes)
    assert list(found) == [*own, 'Mean']
    assert sum(value > 0 for value in own.values()) > 1
    for name in own:
        for cell, value in zip(found[name], (own[name], base[name], own[name] - base[name])):
            if np.isnan(value):
                assert cell == '-'
            else:
                assert float(cell) == pytest.approx(value, abs=0.006)
    assert sum(float(row[3]) for row in list(found.values())[:-1]) == pytest.approx(100, abs=0.2)
    # The means are those of mmseg's own test.
    mean, base_mean, difference = map(float, found['Mean'][:3])
    assert mean == pytest.approx(metrics['learned']['mIoU'], abs=0.011)
    assert base_mean == pytest.approx(metrics['stock']['mIoU'], abs=0.011)
    assert difference == pytest.approx(mean - base_mean, abs=0.011)
    accuracy = float(re.search(r'all pixels correct: (\S+) %', page.text)[1])
    assert accuracy == pytest.approx(metrics['learned']['aAcc'], abs=0.011)


def test_costs_are_counted_and_measured(both, trained):
    folder, _ = trained
    data, page = both
    found = rows(page, 'Parameters, multiply-adds and latency')
    assert list(found) == ['this run', 'baseline (the stock network)']
    for row, (name, config, work_dir) in zip(found.values(), (
            ('this run', 'my_dynopool_config.py', 'learned'),
            ('baseline', 'my_hrnet_config.py', 'stock'))):
        model = load_network(Config.fromfile(folder / config),
                               str(folder / work_dir / 'iter_20.pth'))
        gmacs = count_gmacs(model, (64, 64), forward=lambda net, image: net._forward(image))
        params = sum(p.numel() for p in model.parameters())
        assert row[:2] == [f'{params:,}', f'{gmacs:.4g}']
        seconds = data.costs[name].seconds
        assert len(seconds) == 3 and min(seconds) > 0
        assert row[3] == f'{1e3 * sorted(seconds)[1]:.2f}'
    ratio = data.costs['this run'].gmacs / data.costs['baseline'].gmacs
    assert found['this run'][2] == f'{ratio:.3f}' != '1.000'
    assert 'One image of 64 x 64 (h x w)' in page.text


def test_the_budget_has_a_card(both, trained):
    """The network's own, of which 2 % are the steps of rounded sizes; and one that misses it."""
    data, page = both
    cfg = Config.fromfile(trained[0] / 'my_dynopool_config.py')
    gmacs, initial = (count_network_gmacs(load_network(cfg, path), (64, 64))
                      for path in (str(trained[0] / 'learned' / 'iter_20.pth'), None))
    assert data.outcome == (gmacs, pytest.approx(0.98 * initial), pytest.approx(initial), 'GMACs')
    wanted = f'GMACs{0.98 * initial:.4g} GMACs are wanted'
    assert f'Budget, met{gmacs:.4g} {wanted}' in page.text
    missed = replace(data, outcome=Outcome(1.01 * initial, 0.98 * initial, initial, 'GMACs'))
    assert f'Budget, missed{1.01 * initial:.4g} {wanted}' in Page(make_page(missed)).text


def test_sizes_are_drawn_to_scale(both):
    _, page = both
    drawn = [rect for rect in page.all('rect') if 'data-h' in rect]
    sizes = {kind: [(int(r['data-h']), int(r['data-w'])) for r in drawn if r['class'] == kind]
             for kind in ('run', 'stock')}
    assert sizes['stock'] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert sizes['run'] == [(16, 16), (6, 10), (2, 6), (1, 4)]  # alpha = (2.7, 1.6)
    pixels = {float(r[side]) / int(r[f'data-{side[0]}']) for r in drawn
              for side in ('height', 'width')}
    assert max(pixels) == pytest.approx(min(pixels), rel=0.01)
    assert rows(page, 'Learned scales')['stream2'] == ['0.370', '0.625', '0.593']
    labels = [svg['aria-label'] for svg in page.all('svg') if svg.get('role') == 'img']
    assert labels[1] == 'Feature map 2: this run 6 x 10, stock 8 x 8'


def test_the_page_needs_nothing_but_itself(both):
    _, page = both
    tags = {tag for tag, _ in page.tags}
    assert not tags & {'script', 'link', 'iframe', 'object', 'embed', 'video', 'base', 'form'}
    ids = {attrs['id'] for _, attrs in page.tags if 'id' in attrs}
    for tag, attrs in page.tags:
        assert not any(name.startswith('on') or name in ('srcset', 'data', 'action', 'poster')
                       for name in attrs), (tag, attrs)
        assert 'url(' not in attrs.get('style', '')
        if 'href' in attrs:
            assert attrs['href'][0] == '#' and attrs['href'][1:] in ids
    policy = next(m['content'] for m in page.all('meta') if 'http-equiv' in m)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for image in page.all('img'):
        kind, _, content = image['src'].partition(',')
        assert kind == 'data:image/png;base64'
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), 1)
        assert min(decoded.shape[:2]) >= 64


def test_headings_and_words_for_pictures(both):
    _, page = both
    assert [text for tag, text in page.headings if tag == 'h1'] == ['learned, beside stock']
    assert [text for tag, text in page.headings if tag == 'h2'] == [
        'Accuracy by class', 'Cost', 'Feature maps to scale', 'Training', 'Validation images',
        'Recipe', 'Versions and seeds']
    assert all(image['alt'] for image in page.all('img'))
    alts = [image['alt'] for image in page.all('img')]
    assert any(re.match(r'Validation during training: this run from \S+ to \S+ at iteration 20; '
                        'baseline from', alt) for alt in alts)
    cost, = (alt for alt in alts if alt.startswith('Multiply-adds before rounding, share of'))
    reached = re.search(r': this run from 1 to (\S+) at iteration 20; plan from 1 to 0.98 at '
                        'iteration 20$', cost)
    assert float(reached[1]) == pytest.approx(0.98, rel=0.02)
    assert page.all('html')[0]['lang'] == 'en'
    assert 'width=device-width' in next(m['content'] for m in page.all('meta')
                                        if m.get('name') == 'viewport')


def test_best_and_worst_images(both):
    data, page = both
    scores = [sample.miou for sample in [*data.best, *data.worst[::-1]]]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True)
    assert sorted(scores) == pytest.approx(sorted(data.ours.evaluation.image_miou()))
    assert len({sample.name for sample in [*data.best, *data.worst]}) == 4
    alts = [image['alt'] for image in page.all('img')]
    for sample in [*data.best, *data.worst]:
        assert [f'{kind} of {sample.name}' for kind in ('Image', 'Truth', 'Prediction', 'Baseline')
                ] == [alt for alt in alts if alt.endswith(sample.name)]
        assert (f'{sample.name}: mIoU {sample.miou:.2f}\xa0%, baseline '
                f'{sample.baseline_mious["baseline"]:.2f}\xa0%') in page.text
    image = cv2.imdecode(np.frombuffer(data.best[0].panels['Image'], np.uint8), 1)
    assert image.shape == (80, 144, 3)


def test_recipe_versions_and_seeds(both):
    data, page = both
    recipe = rows(page, 'Recipe')
    assert recipe['Network'] == ['EncoderDecoder: DynOPoolHRNet + FCNHead',
                                 'EncoderDecoder: HRNet + FCNHead']
    assert recipe['Optimizer'] == ['SGD(lr=0.1, momentum=0.9, weight_decay=0.0001)'] * 2
    assert recipe['Cost'] == ["gmacs_budget={'target': 0.98}", '-']
    assert recipe['Learner of the scales'] == ['travel=3.0, every=2, jitter=0.0', '-']
    assert 'Learning rate of alpha' not in recipe
    assert recipe['Crop (h x w)'] == ['64 x 64'] * 2 and recipe['Seed'] == ['1', '1']
    assert recipe['Batch per process'] == ['2', '2'] and recipe['Length'] == ['max_iters=20'] * 2
    assert 'RandomCrop(crop_size=(64, 64))' in recipe['Augmentation'][0]
    versions = rows(page, 'Versions and seeds')
    assert versions['This run'][0].startswith('seed 1, mmengine ')
    assert versions['Device'][0].startswith('cpu: ')
    assert {'mmseg_dynopool', 'PyTorch', 'mmsegmentation', 'mmengine', 'Python'} <= set(versions)
    assert config_text(data.ours.run.cfg) in page.text


def test_without_a_baseline(trained, tmp_path):
    folder, _ = trained
    before = sorted(folder.rglob('*'))
    out = run_report(folder / 'learned', out=tmp_path / 'sub' / 'r.html', images=1, repeats=1)
    assert sorted(folder.rglob('*')) == before, 'the work dir is only read'
    page = Page(out.read_text())
    assert list(rows(page, 'Parameters, multiply-adds and latency')) == ['this run',
                                                                        'stock network']
    assert page.tables['IoU by class'][0] == ['Class', 'IoU (%)', 'Share of pixels (%)']
    assert {r['class'] for r in page.all('rect')} == {'run', 'stock'}
    assert 'baseline' not in page.text.lower()


def test_a_stock_run_beside_a_learned_one(trained, tmp_path):
    folder, _ = trained
    page = Page(run_report(folder / 'stock', folder / 'learned', tmp_path / 'r.html', 1, 1,
                           shape=(48, 96)).read_text())
    assert 'fixed strides: it holds no DynOPool' in page.text and 'Budget,' not in page.text
    assert list(rows(page, 'Parameters, multiply-adds and latency')) == ['this run', 'baseline']
    sizes = [(r['class'], r['data-h'], r['data-w']) for r in page.all('rect') if 'data-h' in r]
    assert sizes[2:4] == [('run', '6', '12'), ('baseline', '4', '15')]


def test_two_baselines(trained, tmp_path):
    """Each has its columns, curves and panels, under the name of its folder."""
    folder, metrics = trained
    shutil.copytree(folder / 'learned', tmp_path / 'other')
    page = Page(run_report(folder / 'learned', [folder / 'stock', tmp_path / 'other'],
                           tmp_path / 'r.html', 1, 1).read_text())
    assert page.headings[0] == ('h1', 'learned, beside stock and other')
    assert list(rows(page, 'Parameters, multiply-adds and latency')) == [
        'this run', 'stock (the stock network)', 'other']
    assert page.tables['IoU by class'][0] == [
        'Class', 'IoU (%)', 'stock IoU (%)', 'Difference', 'other IoU (%)', 'Difference',
        'Share of pixels (%)']
    own, stock, less, other, zero, _ = rows(page, 'IoU by class')['Mean']
    assert (own, zero) == (other, '+0.00')
    assert float(less) == pytest.approx(float(own) - float(stock), abs=0.011)  # of three roundings
    assert float(stock) == pytest.approx(metrics['stock']['mIoU'], abs=0.011)
    assert page.tables['Learned scales'][0][-2:] == ['other, height', 'other, width']
    scales = rows(page, 'Learned scales')['stream2']
    assert scales[:2] == scales[3:] == ['0.370', '0.625']
    assert 'Feature map 2: this run 6 x 10, stock 8 x 8, other 6 x 10' in [
        svg.get('aria-label') for svg in page.all('svg')]
    alts = [image['alt'] for image in page.all('img')]
    kinds = [alt.partition(' of ')[0] for alt in alts if alt.endswith('.png')]
    assert kinds[:5] == ['Image', 'Truth', 'Prediction', 'stock', 'other']
    assert any(re.match('Validation during training: this run from .*; stock from .*; other from',
                        alt) for alt in alts)
    assert re.search(r'mIoU \S+\xa0%, stock \S+\xa0%, other \S+\xa0%', page.text)
    assert len(rows(page, 'Recipe')['Network']) == 3
    assert {'This run', 'stock', 'other'} <= set(rows(page, 'Versions and seeds'))


def test_runs_of_one_name_are_told_apart(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder / 'stock', tmp_path / 'stock')
    data = collect(read_run(folder / 'learned'), [read_run(folder / 'stock'), read_run(
        tmp_path / 'stock')], None, 1, 1, 'cpu')
    assert list(data.costs) == ['this run', 'stock (1)', 'stock (2)'] and data.stock == 'stock (1)'


def test_the_size_of_a_resized_image_is_told(both):
    data, page = both
    assert data.resized == {} and 'is resized first' not in page.text
    resized = replace(data, resized={'this run': [(48, 32)], 'baseline': [(16, 64), (64, 64)]})
    assert ('The image itself is resized first, of this run to 48 x 32, of baseline to 16 x 64 and '
            '64 x 64.') in Page(make_page(resized)).text


def test_a_learned_run_of_no_hrnet_has_no_stock_network(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder / 'learned', tmp_path / 'run')
    config = tmp_path / 'run' / 'my_dynopool_config.py'
    config.write_text(f"{config.read_text()}\nmodel['backbone']['type'] = 'OtherNet'\n")
    MODELS.register_module('OtherNet', module=type('OtherNet', (DynOPoolHRNet, ), {}))
    try:
        out = run_report(tmp_path / 'run', out=tmp_path / 'r.html', images=1, repeats=1)
    finally:
        MODELS.module_dict.pop('OtherNet')
    page = Page(out.read_text())
    assert list(rows(page, 'Parameters, multiply-adds and latency')) == ['this run']
    assert {rect['class'] for rect in page.all('rect')} == {'run'}
    assert 'Feature map 2: this run 6 x 10' in [svg.get('aria-label') for svg in page.all('svg')]
    assert rows(page, 'Learned scales')['stream2'] == ['0.370', '0.625', '0.593']
    assert 'stock' not in page.text


def test_many_processes_and_text_that_is_no_html(trained, tmp_path):
    """A torchrun run's config with scoped types, in a folder whose name is markup."""
    folder, _ = trained
    work_dir = tmp_path / '<img src=x onerror=alert(1)>&amp;"'
    shutil.copytree(folder / 'learned', work_dir)
    config = work_dir / 'my_dynopool_config.py'
    names = [f'</table><script>{k}' for k in range(19)]
    options = dict(type='BaseSegDataset', metainfo=dict(classes=names),
                   img_suffix='_leftImg8bit.png', seg_map_suffix='_gtFine_labelTrainIds.png')
    config.write_text(f'{config.read_text()}\nlauncher = "pytorch"\n'
                      'model["backbone"]["type"] = "mmseg.DynOPoolHRNet"\n'
                      f'val_dataloader["dataset"].update({options!r})\n')
    page = Page(run_report(work_dir, out=tmp_path / 'r.html', images=1, repeats=1).read_text())
    assert page.headings[0] == ('h1', work_dir.name)
    assert list(rows(page, 'IoU by class')) == [*names, 'Mean']
    assert rows(page, 'Recipe')['Network'] == ['EncoderDecoder: DynOPoolHRNet + FCNHead']
    assert rows(page, 'Parameters, multiply-adds and latency')['stock network'][2] == '1.000'
    assert not page.all('script') and all('onerror' not in image for image in page.all('img'))


def test_the_measured_time_of_a_settled_network_is_told(trained):
    run = read_run(trained[0] / 'learned')
    assert 'Time of the settled network' not in recipe(run)
    run.log.series['latency_measured_ms'] = [(17, 20.702), (20, 20.702)]
    run.cfg.custom_hooks = [dict(type='DynOPoolHook', latency_budget=dict(target=0.7))]
    rows = recipe(run)
    assert rows['Time of the settled network'].startswith('20.7 ms of one image, as measured')
    assert rows['Cost'] == "latency_budget={'target': 0.7}"


def test_the_recipe_of_the_paper_s_way_and_of_0_3(trained):
    """The scales had an lr in the optimizer: it was logged."""
    run = read_run(trained[0] / 'learned')
    run.cfg.optim_wrapper.paramwise_cfg = dict(
        custom_keys={'dynopools': dict(lr_mult=0.2, decay_mult=0.)})
    run.log.series['dynopool/lr'] = [(1, 0.02), (20, 0.001)]
    run.cfg.custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=7e-5, gmacs_shape=(64, 96))]
    rows = recipe(run)
    assert rows['Learning rate of alpha'] == '0.02 (weight decay 0)'
    assert rows['Cost'] == 'gmacs_weight=7e-05, gmacs_shape=(64, 96)'
    assert 'Learner of the scales' not in rows
    run.cfg.custom_hooks = [dict(type='DynOPoolHook'), dict(type='MeasuredGradientHook')]
    run.cfg.model.gmacs_budget, run.cfg.model.gmacs_weight = dict(target=0.5), None
    assert recipe(run)['Cost'] == "gmacs_budget={'target': 0.5}"
    # The same config, trained anew: alpha's lr has no effect.
    del run.log.series['dynopool/lr']
    rows = recipe(run)
    assert rows['Learner of the scales'] == 'travel=3.0, every=4, jitter=0.0'
    assert 'Learning rate of alpha' not in rows


def test_the_recipe_of_a_budget_of_another_kind(trained):
    run = read_run(trained[0] / 'learned')
    run.cfg.custom_hooks = [dict(type='DynOPoolHook', travel=1., gradient='learner',
                                 budget=dict(type='PixelsBudget', target=0.6))]
    rows = recipe(run)
    assert rows['Cost'] == "budget={'type': 'PixelsBudget', 'target': 0.6}"
    assert rows['Learner of the scales'] == "travel=1.0, gradient='learner', every=2, jitter=0.0"
    run.cfg.train_cfg.max_iters = 80000
    assert ', every=80, ' in recipe(run)['Learner of the scales']
    run.cfg.train_cfg.max_iters = 1000
    assert recipe(run)['Learner of the scales'].endswith('jitter=0.1')
    run.cfg.optim_wrapper.accumulative_counts = 4  # 250 steps of the optimizer
    assert recipe(run)['Learner of the scales'].endswith('jitter=0.0')
