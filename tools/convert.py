"""What would change if the backbone of a config learned its resolutions.

Shows the plan of the conversion, what stays as it is and why, the cost at the start beside the
stock network's, and where a network is refused, the reason and the mend. Changes nothing: to
train, set model.type='DynOPoolEncoderDecoder' and model.dynopool=dict(rule='before', image=True),
of a classifier 'DynOPoolImageClassifier' and dict(rule='before'). Another part than the backbone:
see --part.
"""

import argparse
import json
from dataclasses import asdict

from mmseg.registry import MODELS

from mmseg_dynopool.analysis.cost import stock_model
from mmseg_dynopool.cli.options import add_cfg_options, add_shape, result_on_stdout
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import (
    adapt_to_devices,
    dynopool_parts,
    enter_scope,
    how_to_run,
    input_shape,
    is_segmentor,
    read_config,
    type_name,
)
from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from mmseg_dynopool.conversion.plan import RULES
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.whole_network import check_other_sizes


def takes_other_sizes(part, options):
    """Whether the size of its image can be learned."""
    try:
        plan = plan_conversion(part, levels='image', in_channels=options.get('in_channels'))
    except ValueError:
        return False
    return not plan.refusals


def plan(args):
    """The plan by name, and the lines that tell it."""
    cfg = adapt_to_devices(read_config(args.config, args.cfg_options))
    shape = input_shape(cfg, args.shape)
    given = {name: getattr(args, name) for name in ('rule', 'image', 'merge', 'skip')
             if getattr(args, name) is not None}
    parts = dynopool_parts(cfg.model)
    path = args.part or next(iter(parts), 'backbone')
    of_config = parts[path].get('dynopool') or {} if path in parts else dict(
        image=is_segmentor(cfg.model))
    by_hand = path in parts and type_name(parts[path]) == 'DynOPoolHRNet'
    options = dict({name: value for name, value in of_config.items()
                    if not by_hand or name in ('image', 'multiple')}, **given)
    if args.image is False:
        options.pop('multiple', None)

    enter_scope(cfg)
    network = MODELS.build(stock_model(cfg.model, is_stock=True))
    network.eval()
    try:
        part = network.get_submodule(path)
    except AttributeError:
        raise ValueError(f'the network has no {path!r}; give --part the name of what to convert, '
                         f'one of {", ".join(name for name, _ in network.named_children())}, or '
                         'of a module in it') from None
    planned = plan_conversion(part, **{
        name: value for name, value in options.items()
        if name in ('rule', 'scale', 'merge', 'skip', 'in_channels', 'image', 'multiple',
                    'levels')})
    run = how_to_run(cfg)
    result = asdict(planned) | dict(shape=list(shape),
                                    stock_gmacs=count_network_gmacs(network, shape, **run))
    if not planned.refusals:
        convert_dynopool(part, **options)
        result['gmacs'] = count_network_gmacs(network, shape, **run)
        try:
            check_other_sizes(network, shape, **run)
        except ValueError as error:
            result['refusals'] = [str(error)]
    at = '{} x {}'.format(*shape)
    lines = [str(planned), f'GMACs of one image of {at}: stock {result["stock_gmacs"]:.4g}' + (
        f', converted {result["gmacs"]:.4g} ({result["gmacs"] / result["stock_gmacs"]:.3f})'
        if 'gmacs' in result else '')]
    if others := [name for name in parts if name != path]:
        lines.append(f'This converts {path} alone: see --part for {", ".join(others)}')
    if by_hand:
        lines.append('This converts the stock HRNet. The DynOPoolHRNet of the config places its '
                     'DynOPools by itself: tools/get_flops.py shows them')
    if 'gmacs' in result and result['refusals']:
        lines.append(f'refused: {result["refusals"][0]}')
    elif planned.refusals and takes_other_sizes(part, options):
        lines.append("The image's size alone can be learned: model.dynopool=dict(levels='image')")
    return result, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help="config file, of a stock network or with model.dynopool")
    parser.add_argument('--part', metavar='NAME', help='dotted name of the part to convert; '
                        "default: the config's first converted one, else backbone")
    parser.add_argument('--rule', choices=RULES, help="default: the config's, else before")
    parser.add_argument('--image', action=argparse.BooleanOptionalAction, default=None,
                        help="the image's own size is the first level; default: the config's, of a "
                        'stock segmentor yes')
    parser.add_argument('--merge', action=argparse.BooleanOptionalAction, default=None,
                        help='two resizings in a row become one; default: with rule after')
    parser.add_argument('--skip', nargs='+', metavar='PATTERN', help='modules to leave alone')
    add_shape(parser)
    parser.add_argument('--json', action='store_true', help='print JSON')
    add_cfg_options(parser)
    args = parser.parse_args()
    with result_on_stdout() as stdout:
        result, lines = plan(args)
    print(json.dumps(result, indent=2) if args.json else '\n'.join(lines), file=stdout)
    if result['refusals']:
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)
