"""Turn the learned scales of a checkpoint into constants.

Writes to DIR a plain config (fixed sizes, no cost in the loss, no hook), checkpoint.pth to train
on with, and weights.safetensors, which loads without unpickling anything. The network of the
written files is compared with the trained one before the tool says ok.
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.runner import save_checkpoint

from mmseg_dynopool.checkpoints.load import load_segmentor
from mmseg_dynopool.checkpoints.safetensors import save_safetensors
from mmseg_dynopool.cli.options import ConfigOptions
from mmseg_dynopool.config import read_config
from mmseg_dynopool.export import freeze_config, frozen_state
from mmseg_dynopool.files import make_folder
from mmseg_dynopool.layers import input_channels

WRITTEN = ('checkpoint.pth', 'weights.safetensors', 'config.py')
# Even, odd, of another aspect.
TRIALS = ((128, 256), (97, 131), (224, 96))


def compare(model, frozen):
    """Both networks on random images; returns whether every bit is equal."""
    generator = torch.Generator().manual_seed(0)
    for size in TRIALS:
        image = torch.randn(1, input_channels(model), *size, generator=generator)
        with torch.no_grad():
            if not torch.equal(model._forward(image), frozen._forward(image)):
                return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR',
                        help='folder for config.py, checkpoint.pth and weights.safetensors')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override settings of the config')
    args = parser.parse_args()

    for name in WRITTEN:
        for given in (args.config, args.checkpoint):
            if Path(given).exists() and (args.out / name).exists() and (
                    args.out / name).samefile(given):
                raise ValueError(f'--out {args.out} would overwrite {given}; name another folder')
    model = load_segmentor(args.config, args.checkpoint, 'cpu', args.cfg_options)
    frozen_cfg = freeze_config(read_config(args.config, args.cfg_options), model)

    scales = {name: pool.scale.tolist()
              for name, pool in model.backbone.dynopools.items()}
    meta = dict(dataset_meta=model.dataset_meta, dynopool_scales=scales)
    make_folder(args.out)
    with TemporaryDirectory(dir=args.out, prefix='.unproven') as unproven:
        folder = Path(unproven)
        state = frozen_state(model)
        save_checkpoint(dict(state_dict=state, meta=meta), str(folder / 'checkpoint.pth'))
        save_safetensors(state, folder / 'weights.safetensors', meta)
        frozen_cfg.load_from = '{{ fileDirname }}/checkpoint.pth'
        (folder / 'config.py').write_text(frozen_cfg.pretty_text)
        for name in ('checkpoint.pth', 'weights.safetensors'):
            written = load_segmentor(str(folder / 'config.py'), str(folder / name))
            if not compare(model, written):
                raise SystemExit(f'{name} would differ from the trained network; nothing was '
                                 'written. Please report this')
        for name in WRITTEN:
            os.replace(folder / name, args.out / name)
    for name, scale in scales.items():
        print('{}: scale {:.6f} x {:.6f}'.format(name, *scale))
    print(f'ok: config.py, checkpoint.pth and weights.safetensors in {args.out} give the trained '
          "network's output bit for bit")


if __name__ == '__main__':
    main()
