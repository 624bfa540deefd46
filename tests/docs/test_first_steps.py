"""The notebook of first steps runs from top to bottom, shows what it says, and is committed whole.
"""

import math
import re
import tempfile
from pathlib import Path

import nbformat
import pytest

from mmseg_dynopool.ops import aligned_size, pooled_size
from support.notebook import NOTEBOOK, code_cells, digest, execute, printed, recorded_digest
from support.toys import ROOT

pytestmark = pytest.mark.docs
NUMBER = r'(\d+(?:\.\d+)?(?:e[-+]\d+)?)'
LEVELS = ['image', 'stride2', 'stride4', 'stride8']
CROP = 128
MULTIPLE = 8  # of pixels, of which a UNet of four resolutions takes images
TARGET = 0.5


def committed():
    return nbformat.read(NOTEBOOK, 4)


def outputs_by_name(notebook):
    """What each code cell printed, by the cell's id."""
    return {cell.id: printed(cell) for cell in code_cells(notebook)}


def numbers(pattern, text):
    """The numbers of the only match; ``#`` in the pattern stands for a number."""
    match, = re.findall(pattern.replace('#', NUMBER), text)
    return [float(group) for group in ([match] if isinstance(match, str) else match)]


def check_values(outputs):
    """The numbers that the notebook's text promises."""
    plan = [line.split() for line in outputs['plan'].splitlines()[1:]]
    image, *levels = plan
    assert image[0] == 'image' and image[-5:] == f'to multiples of {MULTIPLE} pixels'.split()
    assert [row[0] for row in levels] == LEVELS[1:] + LEVELS[:0:-1]
    assert [row[-2] for row in levels] == ['instead'] * 3 + ['follows'] * 3

    stock, = numbers(r'stock +# GMACs', outputs['cost'])
    start, ratio = numbers(r'converted # GMACs \(# of', outputs['cost'])
    assert stock > 0.1
    assert start == pytest.approx(stock, rel=0.01)
    assert ratio == pytest.approx(start / stock, abs=1e-3)
    assert re.search('new: (.+)', outputs['cost'])[1].split() == [
        f'backbone.dynopools.{name}.alpha' for name in LEVELS]

    mious = re.findall(rf'iteration (\d+): mIoU {NUMBER} %', outputs['train'])
    assert [iteration for iteration, _ in mious] == ['80', '160', '240']
    assert 75 < float(mious[-1][1]) < 99.5  # all background: 26

    before = after = (CROP, CROP)
    areas = []
    for name in LEVELS:
        shown = numbers(rf'{name} +# x # +# x # +# x #', outputs['learned'])
        scale = numbers(rf'{name}: # x #', outputs['freeze'])
        alpha = [1 / r for r in scale]
        if name == 'image':
            after = aligned_size(after, alpha, MULTIPLE)
        else:
            before = tuple(n // 2 for n in before)
            after = pooled_size(after, alpha)
        assert shown == [*(round(r, 3) for r in scale), *before, *after]
        areas.append(math.prod(scale))
    assert areas[0] != 1 and 0.25 not in areas[1:]
    first, last, ratio = numbers('GMACs +# at the start, # learned +.#.', outputs['learned'])
    assert (first, ratio) == (start, pytest.approx(last / first, abs=1e-3))
    assert ratio == pytest.approx(TARGET, abs=0.015)

    right, = numbers('#% of the pixels', outputs['prediction'])
    assert 90 < right < 100

    assert 'written: checkpoint.pth config.py weights.safetensors' in outputs['freeze']
    frozen, trained = numbers(r'EncoderDecoder with # parameters, the trained one #',
                              outputs['freeze'])
    assert trained - frozen == 2 * len(LEVELS)

    random, = numbers('random image: max difference #', outputs['onnx'])
    slice_, logit = numbers('slice: +max difference #, largest logit #', outputs['onnx'])
    assert logit > 1
    assert max(random, slice_) < 1e-4 * logit
    assert 'equal labels: True' in outputs['onnx']


@pytest.mark.slow
def test_it_runs_and_shows_what_it_says(tmp_path, monkeypatch):
    here, temporary = tmp_path / 'here', tmp_path / 'temporary'
    here.mkdir()
    temporary.mkdir()
    monkeypatch.setenv('TMPDIR', str(temporary))
    monkeypatch.setattr(tempfile, 'tempdir', None)  # which is read once
    notebook = committed()
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    execute(notebook, here)
    check_values(outputs_by_name(notebook))
    assert list(here.iterdir()) == []
    left = {path.name for path in temporary.iterdir()}
    assert left - {'.ses'} == set()  # which onnxruntime writes when it is imported


def test_the_committed_outputs_show_what_the_text_says():
    check_values(outputs_by_name(committed()))


def test_the_committed_outputs_are_whole():
    """``python -m support.notebook`` executes and writes the notebook anew."""
    notebook = committed()
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert recorded_digest(notebook) == digest(notebook)
    kinds = {cell.id: [output.output_type for output in cell.outputs] for cell in cells}
    assert {name for name, found in kinds.items() if 'display_data' in found} == {
        'data', 'curves', 'sizes', 'prediction'}
    assert {kind for found in kinds.values() for kind in found} == {'stream', 'display_data'}
    streams = [output for cell in cells for output in cell.outputs
               if output.output_type == 'stream']
    assert {output.name for output in streams} == {'stdout'}


def test_the_committed_file_is_small_and_names_no_machine():
    assert NOTEBOOK.stat().st_size < 700_000
    notebook = committed()
    for cell in code_cells(notebook):
        assert 'execution' not in cell.metadata  # times
        for output in cell.outputs:
            output.get('data', {}).pop('image/png', None)
    text = nbformat.writes(notebook)
    paths = {tempfile.gettempdir(), '/tmp', '/home', '/root', str(Path.home()), str(ROOT)} - {'/'}
    assert [path for path in paths if path in text] == []


def test_links_lead_to_pages():
    texts = [cell.source for cell in committed().cells if cell.cell_type == 'markdown']
    links = re.findall(r'\]\(([^)\s]+)\)', '\n'.join(texts))
    pages = [link for link in links if not link.startswith('https://')]
    assert len(pages) >= 8
    for link in pages:
        name, _, anchor = link.partition('#')
        page = (NOTEBOOK.parent / name).read_text()
        headings = [re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
                    for heading in re.findall(r'^#+ (.+)$', page, re.M)]
        assert not anchor or anchor in headings


def test_it_imports_public_names_and_what_draws():
    """From rooms with an ``__all__`` only what is in it."""
    source = '\n'.join(cell.source for cell in code_cells(committed()))
    imports = re.findall(r'^from (mmseg_dynopool\S*) import (.+)$', source, re.M)
    assert len(imports) > 6
    for module, names in imports:
        room = __import__(module, fromlist=['__all__'])
        if not module.startswith(('mmseg_dynopool.analysis.', 'mmseg_dynopool.report.',
                                  'mmseg_dynopool.data.')):
            assert set(names.split(', ')) <= set(room.__all__)
