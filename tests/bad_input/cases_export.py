"""Freezing, exporting, and files of other runtimes that are cut off or of something else."""

import os

import onnx
import pytest

from mmseg_dynopool.export import export_program, save_safetensors


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


def _onnx(bench):
    export_program(bench.project.ready_model(), bench.folder / 'net.onnx', (48, 64))
    return bench.folder / 'net.onnx'


def dynopool_learn(bench):
    return bench.build(backbone=dict(dynopool=dict(learn='no')))


def freeze_twice(bench):
    return _freeze(bench, bench.write_config(
        "model = dict(backbone=dict(type='DynOPoolHRNet', dynopool=dict(learn=False)))",
        base=_stock(bench)))


def freeze_stock(bench):
    return _freeze(bench, bench.write_config(base=_stock(bench)))


def freeze_out_is_a_file(bench):
    bench.write('taken', 'mine')
    return _freeze(bench, out='taken')


def freeze_cut_checkpoint(bench):
    return _freeze(bench, checkpoint=bench.write(
        'cut.pth', bench.project.checkpoint.read_bytes()[:5000]))


def export_format(bench):
    return _export(bench, '--shape', 48, 64, '--format', 'tflite')


def export_shape_zero(bench):
    return _export(bench, '--shape', 0, 64)


def export_out_is_a_folder(bench):
    return _export(bench, '--shape', 48, 64, '--out', bench.folder)


def export_out_in_a_file(bench):
    bench.write('taken', 'mine')
    return _export(bench, '--shape', 48, 64, '--out', 'taken/net.onnx')


def onnx_missing(bench):
    return _infer(bench, 'lost.onnx')


def onnx_cut(bench):
    content = _onnx(bench).read_bytes()
    return _infer(bench, bench.write('cut.onnx', content[:len(content) // 2]))


def onnx_empty(bench):
    return _infer(bench, bench.write('empty.onnx', ''))


def onnx_of_others(bench):
    program = onnx.load(_onnx(bench))
    del program.metadata_props[:]
    onnx.save(program, bench.folder / 'other.onnx')
    return _infer(bench, bench.folder / 'other.onnx')


def onnx_other_size(bench):
    return _infer(bench, _onnx(bench))


def onnx_to_train_from(bench):
    return bench.train(f'load_from={bench.write("net.onnx", "onnx")}')


def safetensors_cut(bench):
    save_safetensors(bench.project.ready_model(), bench.folder / 'whole.safetensors')
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
