"""Where results cannot be written."""

from pathlib import Path

import cv2
import numpy as np

from mmseg_dynopool.cli.segment import segment_images
from mmseg_dynopool.data.prepare_mni152 import prepare_mni152
from mmseg_dynopool.files import write_file
from mmseg_dynopool.report.comparison import draw_comparison


def out_is_a_file(bench):
    out = bench.write('taken', 'precious')
    seen = bench.infer(bench.project.images[0], '--out', out)
    assert out.read_text() == 'precious'
    return seen


def out_inside_a_file(bench):
    return bench.infer(bench.project.images[0], '--out', bench.write('taken', '') / 'deep')


def out_of_test_is_a_file(bench):
    return bench.tool('test', bench.project.config, bench.project.checkpoint, '--out',
                      bench.write('taken', ''))


def show_dir_is_a_file(bench):
    return bench.tool('test', bench.project.config, bench.project.checkpoint, '--show-dir',
                      bench.write('taken', ''))


def work_dir_is_a_file(bench):
    return bench.tool('train', bench.project.config, '--work-dir', bench.write('taken', ''))


def work_dir_inside_a_file(bench):
    return bench.tool('train', bench.project.config, '--work-dir',
                      bench.write('taken', '') / 'run')


def data_folder_is_a_file(bench):
    return bench.call(prepare_mni152, bench.write('taken', ''))


def json_inside_a_file(bench):
    return bench.tool('benchmark', '--json', bench.write('taken', '') / 'result.json')


def _fill_disk(path):
    """A file whose writing hits a full device."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.symlink_to('/dev/full')
    return part


def disk_full_at_a_label_map(bench):
    out = bench.folder / 'out'
    part = _fill_disk(out / 'labels' / f'{bench.project.images[0].stem}.png')
    model = bench.project.ready_model()
    seen = bench.call(next, segment_images(model, bench.project.images, out))
    assert not part.is_symlink() and not list(out.glob('*/*'))
    return seen


def disk_full_at_an_old_result(bench):
    """The result of an earlier run stays as it was."""
    old = bench.write('out/result.json', 'old')
    _fill_disk(old)
    seen = bench.call(write_file, old, b'new' * 1000)
    assert old.read_text() == 'old' and [p.name for p in Path(old.parent).iterdir()] == [old.name]
    return seen


def disk_full_at_a_drawing(bench):
    image = cv2.imread(str(bench.project.images[0]))
    path = bench.folder / 'drawing.png'
    _fill_disk(path)
    meta = dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 0, 0]])
    seen = bench.call(draw_comparison, image, {'truth': np.zeros(image.shape[:2], int)}, meta,
                      path)
    assert not list(bench.folder.iterdir())
    return seen
