"""Freezing, exporting, and files of other runtimes that are cut off or of something else."""

import contextlib
import os
import shutil
import subprocess

import onnx
import pytest
import torch

from mmseg_dynopool.checkpoints.safetensors import save_safetensors


def _infer(bench, weights, **options):
    return bench.infer(bench.project.images[0], checkpoint=weights, **options)


def _export(bench, *flags):
    return bench.tool('export', bench.project.config, bench.project.checkpoint, *flags)


def _freeze(bench, config=None, checkpoint=None, out='frozen'):
    seen = bench.tool('freeze', config or bench.project.config,
                      checkpoint or bench.project.checkpoint, '--out', out)
    assert not (bench.folder / 'frozen').exists()
    return seen


def _stock(bench):
    """The user's config before the plugin."""
    return bench.project.config.parent / 'my_hrnet_config.py'


def dynopool_learn(bench):
    return bench.build(backbone=dict(dynopool=dict(learn='no')))


def freeze_twice(bench):
    folder = bench.project.frozen
    return _freeze(bench, folder / 'config.py', folder / 'checkpoint.pth')


def freeze_stock(bench):
    checkpoint = torch.load(bench.project.checkpoint, weights_only=True)
    weights = {key: value for key, value in checkpoint['state_dict'].items()
               if not key.endswith('.alpha')}
    torch.save(weights, bench.folder / 'stock.pth')
    return _freeze(bench, bench.write_config(base=_stock(bench)), bench.folder / 'stock.pth')


def freeze_out_is_a_file(bench):
    bench.write('taken', 'mine')
    return _freeze(bench, out='taken')


def freeze_cut_checkpoint(bench):
    return _freeze(bench, checkpoint=bench.write(
        'cut.pth', bench.project.checkpoint.read_bytes()[:5000]))


def freeze_onto_its_input(bench):
    path = bench.write('checkpoint.pth', bench.project.checkpoint.read_bytes())
    seen = _freeze(bench, checkpoint=path, out=bench.folder)
    assert path.read_bytes() == bench.project.checkpoint.read_bytes()
    return seen


def freeze_an_onnx_file(bench):
    return _freeze(bench, checkpoint=bench.write('net.onnx', 'onnx'))


def learned_weights_in_the_stock_config(bench):
    return _infer(bench, bench.project.checkpoint, config=bench.write_config(base=_stock(bench)))


def resume_from_frozen_weights(bench):
    folder = bench.project.frozen
    return bench.train('resume=True', f'load_from={folder / "checkpoint.pth"}',
                       config=folder / 'config.py')


def export_suffix(bench):
    return _export(bench, '--shape', 48, 64, '--out', 'net.pt2')


def export_format(bench):
    return _export(bench, '--shape', 48, 64, '--format', 'tflite')


def export_shape_zero(bench):
    return _export(bench, '--shape', 0, 64)


def export_resized_input(bench):
    return _export(bench, '--shape', 48, 64, '--resized-input')


def _folder(bench, name):
    (bench.folder / name).mkdir()
    return name


def export_out_is_a_folder(bench):
    return _export(bench, '--shape', 48, 64, '--out', _folder(bench, 'folder.onnx'))


def export_out_in_a_file(bench):
    bench.write('taken', 'mine')
    return _export(bench, '--shape', 48, 64, '--out', 'taken/net.onnx')


@contextlib.contextmanager
def _immutable(path):
    """As for anybody, root included; where the file system has no such thing, nothing is tried."""
    if shutil.which('chattr') is None or subprocess.run(['chattr', '+i', path]).returncode:
        pytest.skip('nothing can be made immutable here')
    try:
        yield
    finally:
        subprocess.run(['chattr', '-i', path], check=True)


def export_folder_immutable(bench):
    folder = bench.folder / _folder(bench, 'locked')
    with _immutable(folder):
        return _export(bench, '--shape', 48, 64, '--out', folder / 'net.onnx')


def export_over_an_immutable_file(bench):
    path = bench.write('mine.onnx', 'mine')
    with _immutable(path):
        seen = _export(bench, '--shape', 48, 64, '--out', 'mine.onnx')
    assert path.read_text() == 'mine' and [p.name for p in bench.folder.iterdir()] == [path.name]
    return seen


def onnx_missing(bench):
    return _infer(bench, 'lost.onnx')


def onnx_cut(bench):
    content = bench.project.onnx.read_bytes()
    return _infer(bench, bench.write('cut.onnx', content[:len(content) // 2]))


def onnx_empty(bench):
    return _infer(bench, bench.write('empty.onnx', ''))


def onnx_of_others(bench):
    program = onnx.load(bench.project.onnx)
    del program.metadata_props[:]
    onnx.save(program, bench.folder / 'other.onnx')
    return _infer(bench, bench.folder / 'other.onnx')


def onnx_other_size(bench):
    return _infer(bench, bench.project.onnx)


def onnx_to_train_from(bench):
    return bench.train(f'load_from={bench.write("net.onnx", "onnx")}')


def safetensors_cut(bench):
    save_safetensors(bench.project.ready_model().state_dict(), bench.folder / 'whole.safetensors')
    content = (bench.folder / 'whole.safetensors').read_bytes()
    return _infer(bench, bench.write('cut.safetensors', content[:len(content) // 2]))


def safetensors_empty(bench):
    return _infer(bench, bench.write('empty.safetensors', ''))


def safetensors_that_is_a_pickle(bench):
    return _infer(bench, bench.write('renamed.safetensors',
                                     bench.project.checkpoint.read_bytes()))


def disk_full_in_a_checkpoint(bench):
    def full(handle):
        raise OSError(28, 'No space left on device')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        seen = bench.train()
    assert not list(bench.folder.glob('run/*iter*'))
    return seen
