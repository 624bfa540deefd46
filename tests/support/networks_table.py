"""Writes docs/networks.md: what conversion makes of the networks in zoo.py.

`make networks-table` runs it, where the libraries are.
"""

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from support.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before mmcv, mmengine or timm import torchvision

from mmengine.registry import init_default_scope  # noqa: E402

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion  # noqa: E402
from mmseg_dynopool.costs import count_gmacs  # noqa: E402
from mmseg_dynopool.models import DynOPoolHRNet  # noqa: E402
from support import zoo  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / 'docs/networks.md'
SHAPE = (512, 1024)
HEAD = f"""# Networks

What [`convert_dynopool`](any_network.md) makes of all backbones of mmseg and of common networks
elsewhere, with the default options. `make networks-table` writes this page.

GMACs are those of one image of {SHAPE[0]} x {SHAPE[1]} at the start of a training, DynOPools' own
work included, and relative to the stock network's. By rule `'before'` a network starts at its stock
cost; by `'after'` every convolution that loses its stride runs at the larger resolution. Parameters
are the stock network's and two for each level. Where the outputs at the start are promised to be
those of another network, the largest difference on noise is given: of the stock network where all
levels are 2 x 2 poolings, of `DynOPoolHRNet` with a learned stem for HRNet.
"""
TOP = '| network | levels by rule before | modules | parameters | GMACs stock | before | after | ' \
    'largest difference |\n|---|---|---|---|---|---|---|---|'
REFUSED = '| network | rule | module | reason |\n|---|---|---|---|'


def count(network):
    return count_gmacs(network, SHAPE)


def rows_of(name, build):
    """``(row of a converted network or None, rows of refusals)``."""
    refusals, ratios = [], {}
    network = build()
    for rule in ('before', 'after'):
        try:
            plan = plan_conversion(network, rule)
        except ValueError as error:
            refusals.append((name, rule, '', first_sentences(str(error))))
            continue
        for refusal in plan.refusals[:1]:
            refusals.append((name, rule, refusal.module, first_sentences(refusal.reason)))
        if plan.refusals:
            continue
        stock = count(network)  # some that are refused take no image of this size
        converted = convert_dynopool(copy.deepcopy(network), rule)
        ratios[rule] = f'{count(converted) / stock:.3f}'
        if rule == 'before':
            levels = ' '.join(plan.scales)
            modules = len({change.module for change in plan.changes})
            params = sum(p.numel() for p in network.parameters()) / 1e6
            difference = promised_difference(network, converted, plan)
    if not ratios:
        return None, refusals
    if 'before' not in ratios:
        raise RuntimeError(f'{name} converts by rule after alone: the table has no such row')
    return (name, levels, modules, f'{params:.2f} M', f'{stock:.4g}', ratios['before'],
            ratios.get('after', 'refused'), difference), refusals


def promised_difference(network, converted, plan):
    twin = None
    if type(network).__name__ == 'HRNet':
        twin = DynOPoolHRNet(network.extra, dynopool=dict(stem=True))
        twin.load_state_dict(network.state_dict(), strict=False)
        twin.eval()
    elif all(is_halving(network.get_submodule(change.module)) for change in plan.changes):
        twin = network
    if twin is None:
        return ''
    image = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pairs = zip(outputs(converted, image), outputs(twin, image), strict=True)
        return f'{max((a - b).abs().max().item() for a, b in pairs):.2g}'


def is_halving(module):
    """A pooling of 2 x 2 pixels, or what leads back from it."""
    return getattr(module, 'scale_factor', None) is not None or isinstance(
        module, nn.ConvTranspose2d) or (
        isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)) and module.kernel_size in (2, (2, 2))
        and module.stride in (2, (2, 2)))


def outputs(network, image):
    result = network(image)
    return [result] if isinstance(result, torch.Tensor) else list(result)


def first_sentences(reason):
    return ' '.join(reason.replace('|', '/').split())[:300]


def table(top, rows):
    return '\n'.join([top, *('| ' + ' | '.join(map(str, row)) + ' |' for row in rows)])


def main():
    if find_spec('timm') is None:
        raise SystemExit('run make networks-table: it has an environment with timm, torchvision '
                         'and segmentation_models_pytorch')
    warnings.simplefilter('ignore')
    init_default_scope('mmseg')
    parts = [HEAD]
    for title, networks in (('Backbones of mmseg', zoo.MMSEG), ('Networks of mmcv', zoo.MMCV),
                            ('Networks of other libraries', zoo.EXTERNAL)):
        converted, refused = [], []
        for name, build in networks.items():
            row, refusals = rows_of(name, build)
            converted += [row] if row else []
            refused += refusals
            print(name, row or refusals, flush=True)
        parts += [f'## {title}\n', table(TOP, converted) + '\n']
        if refused:
            parts += ['Refused:\n', table(REFUSED, refused) + '\n']
    needs = '; '.join(f'{name} {reason}' for name, reason in zoo.NEEDS.items())
    parts.append(f'Not tried: {needs}.\n')
    PAGE.write_text('\n'.join(parts))


if __name__ == '__main__':
    main()
