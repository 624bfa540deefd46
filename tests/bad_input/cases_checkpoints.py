"""Checkpoints that are cut off, of something else, or of a training that diverged."""

import os
import pickle
from pathlib import Path

import torch


def _infer(bench, checkpoint, config=None):
    return bench.infer(bench.project.images[0], config=config, checkpoint=checkpoint)


def _cut(bench, keep):
    """``tools/infer.py`` on the first ``keep(length)`` bytes of the good checkpoint."""
    content = bench.project.checkpoint.read_bytes()
    return _infer(bench, bench.write('cut.pth', content[:keep(len(content))]))


def _changed(bench, change):
    """``tools/infer.py`` on the good checkpoint after ``change(state_dict)``."""
    checkpoint = torch.load(bench.project.checkpoint, weights_only=True)
    change(checkpoint['state_dict'])
    torch.save(checkpoint, bench.folder / 'changed.pth')
    return _infer(bench, bench.folder / 'changed.pth')


def checkpoint_missing(bench):
    return _infer(bench, 'lost.pth')


def checkpoint_folder(bench):
    return bench.tool('test', bench.project.config, bench.folder)


def checkpoint_0_bytes(bench):
    return _cut(bench, lambda length: 0)


def checkpoint_10_bytes(bench):
    return _cut(bench, lambda length: 10)


def checkpoint_half(bench):
    return _cut(bench, lambda length: length // 2)


def checkpoint_all_but_the_last_byte(bench):
    return _cut(bench, lambda length: length - 1)


def checkpoint_text(bench):
    return _infer(bench, bench.write('notes.pth', 'these are my notes\n'))


def checkpoint_image(bench):
    return _infer(bench, bench.project.images[0])


def checkpoint_list(bench):
    torch.save([1, 2, 3], bench.folder / 'list.pth')
    return _infer(bench, bench.folder / 'list.pth')


def checkpoint_pickled_list(bench):
    return _infer(bench, bench.write('list.pkl', pickle.dumps([1, 2, 3])))


def checkpoint_without_weights(bench):
    torch.save(dict(meta={}, epoch=3), bench.folder / 'meta.pth')
    return _infer(bench, bench.folder / 'meta.pth')


def checkpoint_other_architecture(bench):
    torch.save(dict(state_dict=torch.nn.Conv2d(3, 4, 1).state_dict()), bench.folder / 'conv.pth')
    return _infer(bench, bench.folder / 'conv.pth')


def checkpoint_other_width(bench):
    name = 'decode_head.conv_seg.weight'
    return _changed(bench, lambda state: state.update({name: state[name][:5]}))


def checkpoint_nan_alpha(bench):
    name = 'backbone.dynopools.stream1.alpha'
    return _changed(bench, lambda state: state[name].fill_(float('nan')))


def checkpoint_infinite_alpha(bench):
    name = 'backbone.dynopools.stream2.alpha'
    return _changed(bench, lambda state: state[name].fill_(float('inf')))


def checkpoint_nan_weights(bench):
    return _changed(bench, lambda state: state['backbone.conv1.weight'][0].fill_(float('nan')))


def checkpoint_number_for_a_weight(bench):
    return _changed(bench, lambda state: state.update({'backbone.conv1.weight': 3}))


def checkpoint_cut_in_test(bench):
    cut = bench.write('cut.pth', bench.project.checkpoint.read_bytes()[:-1])
    return bench.tool('test', bench.project.config, cut)


def checkpoint_cut_in_get_flops(bench):
    cut = bench.write('cut.pth', bench.project.checkpoint.read_bytes()[:1000])
    return bench.tool('get_flops', bench.project.config, cut)


def checkpoint_cut_in_resume(bench):
    cut = bench.write('run/iter_1.pth', bench.project.checkpoint.read_bytes()[:-1])
    bench.write('run/last_checkpoint', str(cut))
    return bench.train(flags=['--resume'])


def checkpoint_gone_in_resume(bench):
    bench.write('run/last_checkpoint', str(Path('run', 'iter_7.pth')))
    return bench.train(flags=['--resume'])


def checkpoint_to_start_from(bench):
    return bench.train(f'load_from={bench.write("notes.pth", "notes")}')


def checkpoint_of_other_channels_to_start_from(bench):
    checkpoint = torch.load(bench.project.checkpoint, weights_only=True)
    name = 'backbone.conv1.weight'
    checkpoint['state_dict'][name] = checkpoint['state_dict'][name][:, :2]
    torch.save(checkpoint, bench.folder / 'two.pth')
    return bench.train(f'load_from={bench.folder / "two.pth"}', ok=True)


def checkpoint_url_without_a_network(bench):
    return _infer(bench, 'http://127.0.0.1:9/weights.pth')


def checkpoint_without_meta(bench):
    torch.save(bench.project.model.state_dict(), bench.folder / 'weights.pth')
    return bench.infer(bench.project.images[0], checkpoint='weights.pth', ok=True)


class _Command:
    """Unpickled, it runs a command."""

    def __reduce__(self):
        return os.system, ('touch it-ran', )


def _with_a_command(bench, run, name='code.pth'):
    """``run(path of a checkpoint that holds a command)``; it must not have run."""
    content = torch.load(bench.project.checkpoint, weights_only=True)
    path = bench.folder / name
    path.parent.mkdir(exist_ok=True)
    torch.save(dict(content, optimizer=_Command()), path)
    seen = run(path)
    assert not (bench.folder / 'it-ran').exists()
    return seen


def checkpoint_with_a_command(bench):
    return _with_a_command(bench, lambda path: _infer(bench, path))


def checkpoint_with_a_command_in_test(bench):
    return _with_a_command(bench, lambda path: bench.tool('test', bench.project.config, path))


def checkpoint_with_a_command_in_get_flops(bench):
    return _with_a_command(bench, lambda path: bench.tool('get_flops', bench.project.config, path))


def checkpoint_with_a_command_in_freeze(bench):
    return _with_a_command(bench, lambda path: bench.tool(
        'freeze', bench.project.config, path, '--out', 'frozen'))


def checkpoint_with_a_command_to_start_from(bench):
    return _with_a_command(bench, lambda path: bench.train(f'load_from={path}'))


def checkpoint_with_a_command_as_pretrained(bench):
    return _with_a_command(bench, lambda path: bench.train(
        'model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={path}'))


def checkpoint_with_a_command_in_resume(bench):
    return _with_a_command(bench, lambda path: bench.train(flags=['--resume']), 'run/iter_1.pth')


def frozen_weights_of_0_3_at_other_scales(bench):
    """It noted the scales in the meta alone."""
    state = {key: value for key, value in bench.project.model.state_dict().items()
             if not key.endswith('.alpha')}
    scales = {f'stream{k}': [0.5, 0.5] for k in (1, 2, 3)}
    torch.save(dict(state_dict=state, meta=dict(dynopool_scales=scales)),
               bench.folder / 'frozen.pth')
    config = bench.write_config('model = dict(backbone=dict(dynopool=dict(scale=0.4)))',
                                base=bench.project.frozen / 'config.py')
    return _infer(bench, 'frozen.pth', config)


def frozen_weights_in_the_stock_network(bench):
    return bench.infer(bench.project.images[0], config=bench.project.folder / 'my_hrnet_config.py',
                       checkpoint=bench.project.frozen / 'weights.safetensors')
