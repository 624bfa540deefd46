"""docs/evidence.md: what it says of all studies is what their lines say."""

import json
import re

import pytest

from study.image_runs import SENSITIVITY
from study.overview import write_page
from support.toys import ROOT
from support.welch import welch

PAGE = (ROOT / 'docs' / 'evidence.md').read_text()
LINES = [json.loads(text) for name in ('evidence', 'image_level') for text in
         (ROOT / 'docs' / name / 'runs.jsonl').read_text().splitlines()]
FITS = [json.loads(text) for text in (ROOT / 'docs/fit/runs.jsonl').read_text().splitlines()]
LEARNED = dict(image=True, jitter=0.)
JITTERED = dict(image=True, jitter=0.1)


def mious(network, data, method, ratio=0.5, half='miou', **options):
    return [line[half] for line in LINES if line['options'] == options and (
        line['network'], line['data'], line['method'], line['target_ratio']) == (
            network, data, method, ratio)]


def test_the_page_is_that_of_the_lines(tmp_path):
    for name in ('evidence', 'image_level', 'fit'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'runs.jsonl').symlink_to(ROOT / 'docs' / name / 'runs.jsonl')
    write_page(tmp_path)
    for name in ('evidence', 'which_way'):
        assert (tmp_path / f'{name}.md').read_text() == (ROOT / f'docs/{name}.md').read_text()
    pictures = re.findall(r'\]\((evidence/\w+\.png)\)', PAGE)
    assert len(pictures) == 5
    assert all((tmp_path / name).is_file() and (ROOT / 'docs' / name).is_file()
               for name in pictures)


@pytest.mark.parametrize('data, method, sign', [
    ('stretched_h', 'aligned', 1), ('stretched_h', 'squeezed', 1), ('isotropic', 'aligned', 0)])
def test_the_verdicts_hold(data, method, sign):
    """What the page says of the HRNet in words; and the difference that stands there."""
    mean, half = welch(mious('hrnet', data, 'learner', **LEARNED), mious('hrnet', data, method))
    assert (mean > half) - (mean < -half) == sign
    assert f'({mean:+.2f} ± {half:.2f})' in PAGE


def test_the_other_verdicts_hold():
    long = dict(iterations=900)
    mean, half = welch(mious('deeplab', 'stretched_h', 'learner', **JITTERED, **long),
                       mious('deeplab', 'stretched_h', 'aligned', **long))
    assert mean > half > 0
    slices = dict(iterations=1200)
    learned = mious('demo', 'mni152_coronal_5', 'learner', 1., **JITTERED, **slices)
    others = [mious('demo', 'mni152_coronal_5', 'shaped', 1., size=size, **slices)
              for size in ('48x104', '64x80', '72x72', '88x56')]
    others.append(mious('demo', 'mni152_coronal_5', 'stock', 1., **slices))
    others = [scores for scores in others if scores]
    assert len(others) >= 2 and len(learned) >= 2
    assert all(sum(learned) / len(learned) > max(scores) for scores in others)
    dear = mious('demo', 'mni152_coronal_5', 'learner', 4., **JITTERED, **slices)
    strides = mious('demo', 'mni152_coronal_5', 'spaced', 1., **slices)  # at 4 times the cost
    assert min(len(dear), len(strides)) >= 2 and min(dear) > max(strides)


def test_learned_sizes_of_spectrograms_are_ahead_of_the_stock_ones():
    """On each seed and half, also at half of the cost; no shape or stride by hand is ahead."""
    steps = dict(iterations=600)
    for half in ('miou', 'miou_test'):
        place = 'hrnet', 'spoken_numbers'
        stock = mious(*place, 'stock', 1., half, **steps)
        learned, cheaper = (mious(*place, 'learner', ratio, half, **JITTERED, **steps)
                            for ratio in (1., 0.5))
        assert min(map(len, (stock, learned, cheaper))) >= 3
        assert min(learned + cheaper) > max(stock)
        by_hand = [mious(*place, 'spaced', 1., half, size='32x128', **steps)]
        by_hand += [mious(*place, 'shaped', 1., half, size=size, **steps)
                    for size in ('32x256', '24x344', '16x512')]
        assert all(mean > -error for mean, error in (
            welch(learned, scores) for scores in by_hand))


def rows(page, heading):
    """Cells of the tables of a page's section."""
    section = (ROOT / f'docs/{page}.md').read_text().split(f'\n{heading}\n')[1].split('\n## ')[0]
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in section.splitlines() if line.startswith('|')]


def test_figures_of_time_are_those_of_the_pages_that_measured_them():
    """These need an idle machine and have no lines: what is said of them here is said there."""
    relative = [row[-1] for row in rows('speed', '## What a training takes')][2:4]
    assert relative == ['0.81', '1.07']
    assert f'{relative[0][1:]} on HRNet-W48, {relative[1]} on the demo' in PAGE
    learned = [row for row in rows('image_level', '## Time') if 'learned, seed' in row[1]][:3]
    (low, high), (fast, slow) = (sorted(float(row[n]) for row in learned)[::2] for n in (2, 3))
    said = ' '.join(PAGE.split())
    assert (f'take {fast:.2f} to {slow:.2f} of the stock network\'s time, for {low:.2f} to '
            f'{high:.2f} of its multiply-adds').replace('0.', '.') in said


def test_no_other_setting_is_shown_to_be_better_than_the_defaults():
    """On either half; and the one that the page calls worse is behind."""
    for half in ('miou', 'miou_test'):
        place = 'hrnet', 'stretched_h', 'learner', 0.5, half
        for (name, value), in SENSITIVITY:
            mean, error = welch(mious(*place, **{**LEARNED, name: value}),
                                mious(*place, **LEARNED))
            assert mean < error, (half, name, value)
            assert half != 'miou' or (name, value) != ('begin', 0.) or mean < -error


def test_the_readmes_figures_are_the_tables():
    readme = ' '.join((ROOT / 'README.md').read_text().split())
    said = (r'keeps ([\d.]+) of its ([\d.]+) mIoU on .*? and ([\d.]+) on a smaller input; at the '
            r"stock network's cost it has ([\d.]+) for ([\d.]+) on .*? and ([\d.]+) for ([\d.]+) on"
            )
    long, slices, spoken = (dict(iterations=n) for n in (900, 1200, 600))
    trained = [line['scores']['stock'][0] for line in FITS if (
        line['network'], line['data'], line['target_ratio'], line['method']) == (
            'hrnet', 'stretched_h', 0.5, 'gmacs')]
    for found, scores in zip(re.search(said, readme).groups(), (
            mious('hrnet', 'stretched_h', 'learner', **JITTERED, **long), trained,
            mious('hrnet', 'stretched_h', 'aligned', **long),
            mious('demo', 'mni152_coronal_5', 'learner', 1., **JITTERED, **slices),
            mious('demo', 'mni152_coronal_5', 'stock', 1., **slices),
            mious('hrnet', 'spoken_numbers', 'learner', 1., **JITTERED, **spoken),
            mious('hrnet', 'spoken_numbers', 'stock', 1., **spoken)), strict=True):
        assert len(scores) >= 3 and found == f'{sum(scores) / len(scores):.1f}'
