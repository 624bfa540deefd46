"""Parameters and multiply-adds of a network at its learned sizes, beside the stock network.

Of a network without DynOPools, the two totals.
"""

import argparse
import json

from rich.console import Console

from mmseg_dynopool.analysis.cost import build, stock_model
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, add_shape, result_on_stdout, table
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import how_to_run, input_shape, read_config
from mmseg_dynopool.costs.summary import summarize
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.models.cost import count_network_gmacs
from mmseg_dynopool.models.whole_network import network_forward


def show(result, console):
    """Print the tables."""
    console.print(table(
        'at {} x {}'.format(*result['shape']), ('', 'learned', 'stock', 'ratio'), [
            ('parameters', f'{result["params"]:,}', f'{result["stock_params"]:,}'),
            ('GMACs', f'{result["gmacs"]:.4g}', f'{result["stock_gmacs"]:.4g}',
             f'{result["gmacs"] / result["stock_gmacs"]:.3f}'),
            ('DynOPool', f'{result["dynopool_percent"]:.3f} %')]))
    for title, key in (('part', 'by_module'), ('below the DynOPools', 'by_resolution')):
        console.print(table(f'GMACs by {title}', (title, 'learned', 'stock'), [
            (name, f'{row["gmacs"]:.4g}', f'{row["stock_gmacs"]:.4g}')
            for name, row in result[key].items()]))
    console.print(table(
        'learned sizes (h x w)', ('instance', 'scale', 'input', 'output'), [
            (name, '{:.3f} x {:.3f}'.format(*row['scale']), '{} x {}'.format(*row['input_size']),
             '{} x {}'.format(*row['output_size'])) for name, row in result['instances'].items()]))


def count(args):
    """What is printed, by name."""
    model = load_network(read_config(args.config, args.cfg_options), args.checkpoint)
    shape = input_shape(model.cfg, args.shape)
    how = how_to_run(model.cfg)
    if not all_pools(model):
        return dict(shape=list(shape), params=sum(p.numel() for p in model.parameters()),
                    gmacs=count_network_gmacs(model, shape, **how))
    stock = stock_model(model.cfg.model)
    return summarize(model, shape, *network_forward(model, shape, **how),
                     stock and build(stock, 'cpu'))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint; default: the initial scales')
    add_shape(parser)
    parser.add_argument('--json', action='store_true', help='print JSON')
    add_cfg_options(parser)
    args = parser.parse_args()
    with result_on_stdout() as stdout:
        result = count(args)
    if args.json:
        print(json.dumps(result, indent=2), file=stdout)
    elif 'instances' in result:
        show(result, Console(file=stdout, markup=False))
    else:
        print(f'{result["params"]:,} parameters, {result["gmacs"]:.4g} GMACs at '
              '{} x {}; no DynOPool'.format(*result['shape']), file=stdout)


if __name__ == '__main__':
    run_tool(main)
