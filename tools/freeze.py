"""Turn the learned scales of a checkpoint into constants.

Writes to DIR a plain config (fixed sizes, no cost in the loss, no hook), checkpoint.pth to train
on with, and weights.safetensors, which loads without unpickling anything. The network of the
written files is compared with the trained one before the tool says ok.
"""

import argparse
from pathlib import Path

import torch
from mmengine.runner import save_checkpoint

from mmseg_dynopool.engine import ConfigOptions, load_segmentor, read_config
from mmseg_dynopool.export import freeze_config, freeze_pools, save_safetensors

# Even, odd, of another aspect.
TRIALS = ((128, 256), (97, 131), (224, 96))


def compare(model, frozen):
    """Both networks on random images; returns whether every bit is equal."""
    generator = torch.Generator().manual_seed(0)
    for size in TRIALS:
        image = torch.randn(1, 3, *size, generator=generator)
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

    model = load_segmentor(args.config, args.checkpoint, 'cpu', args.cfg_options)
    frozen_cfg = freeze_config(read_config(args.config, args.cfg_options), model)

    args.out.mkdir(parents=True, exist_ok=True)
    meta = dict(dataset_meta=model.dataset_meta)
    frozen = freeze_pools(model)
    save_checkpoint(dict(state_dict=frozen.state_dict(), meta=meta),
                    str(args.out / 'checkpoint.pth'))
    save_safetensors(frozen, args.out / 'weights.safetensors', meta)
    frozen_cfg.load_from = '{{ fileDirname }}/checkpoint.pth'
    frozen_cfg.dump(args.out / 'config.py')

    for name in ('checkpoint.pth', 'weights.safetensors'):
        written = load_segmentor(str(args.out / 'config.py'), str(args.out / name))
        if not compare(model, written):
            raise SystemExit(f'{args.out / name} differs from the trained network; please '
                             'report this')
    for name, pool in frozen.backbone.dynopools.items():
        print('{}: scale {:.6f} x {:.6f}'.format(name, *pool.scale.tolist()))
    print(f'ok: config.py, checkpoint.pth and weights.safetensors in {args.out} give the trained '
          "network's output bit for bit")


if __name__ == '__main__':
    main()
