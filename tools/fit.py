"""Fit a trained network to a cost: it runs on an image of the size that costs it least.

    python tools/fit.py CONFIG CHECKPOINT --target-ms 25 --out fitted

times the network on this device, finds by forward passes on training batches the sizes of its
image that lose least at 25 ms, fine-tunes the best three and the plain smaller input of the same
cost for a third of the fine-tuning, and the best to its end. fitted/ gets its config, weights and
a report. A call that was stopped goes on where it was.

--target 0.5 is half of the stock network's time, --gmacs 0.5 half of its multiply-adds. Several
targets at once share what was measured.
"""

import argparse
import dataclasses
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mmseg_dynopool.cli.options import add_cfg_options, add_device, positive_int, table
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import read_config
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.files import write_file
from mmseg_dynopool.fit.fitting import LEVELS, Fitting, FittingOptions
from mmseg_dynopool.fit.jobs import write_plan
from mmseg_dynopool.fit.page import draw_frontier, verdict
from mmseg_dynopool.fit.write import FILES, write_fitted
from mmseg_dynopool.report.figures import save_figure

SHOWN = 12  # sizes


def positive(text):
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f'must be positive, got {text!r}')
    return value


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of the trained network')
    parser.add_argument('checkpoint', help='its weights')
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument('--target-ms', type=positive, nargs='+', metavar='MS')
    target.add_argument('--target', type=positive, nargs='+', metavar='SHARE',
                        help="of the stock network's time")
    target.add_argument('--gmacs', type=positive, nargs='+', metavar='SHARE',
                        help='of its multiply-adds')
    target.add_argument('--size', type=positive_int, nargs=2, metavar=('H', 'W'),
                        help='no search: write the config of this size, untrained')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    parser.add_argument('--latency', metavar='FILE',
                        help="an earlier fit's latency.json; default: measure here")
    parser.add_argument('--shape', type=positive_int, nargs=2, metavar=('H', 'W'),
                        help='whole image at which the cost counts; default: the training crop')
    parser.add_argument('--batches', type=positive_int, default=16, help='of the search, at most')
    parser.add_argument('--candidates', type=positive_int, default=3,
                        help='sizes that are fine-tuned')
    parser.add_argument('--no-baseline', action='store_false', dest='baseline',
                        help='do not fine-tune the plain smaller input beside them')
    parser.add_argument('--share', type=positive, default=0.1,
                        help="length of the fine-tuning, relative to the training's")
    parser.add_argument('--iterations', type=positive_int, help='the same in steps')
    parser.add_argument('--lr', type=positive, default=0.2,
                        help="its initial lr, relative to the training's")
    judged = parser.add_mutually_exclusive_group()
    judged.add_argument('--held', type=positive, default=0.1,
                        help='share of the training data that is held back to judge by')
    judged.add_argument('--val', action='store_const', dest='held', const=None,
                        help="judge by the config's validation data")
    parser.add_argument('--levels', choices=LEVELS, default='image',
                        help='all: resizing in front of inner layers, too')
    parser.add_argument('--multiple', type=positive_int, help="of pixels, of the image's sides")
    parser.add_argument('--seed', type=int, default=0, help="of the search's batches")
    parser.add_argument('--amp', action='store_true', help='search in bfloat16')
    parser.add_argument('--onnx', action='store_true', help='write network.onnx, too')
    parser.add_argument('--resized-input', action='store_true',
                        help='of --onnx: without the resizing, for images that are resized')
    parser.add_argument('--plan', action='store_true',
                        help='write the fine-tunings as commands, for a scheduler, and stop')
    add_device(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.resized_input and not args.onnx:
        parser.error('--resized-input is of --onnx')
    return args


def search(fitting, target, batches):
    with Progress(transient=True) as progress:
        task = progress.add_task('search', total=batches)
        return fitting.search(target, lambda passes, seen: progress.update(task, completed=seen))


def show(found, cost, console):
    rows = []
    for number, (size, racer) in enumerate(zip(found.tried, found.racers)):
        if number < SHOWN or number == found.plain:
            plain = ' (plain)' if number == found.plain else ''
            rows.append((f'{size}{plain}', f'{size.cost:.4g}', str(len(racer.losses)),
                         f'{racer.mean:.4f}', f'{racer.behind:.4f} ± {racer.noise:.4f}'))
    console.print(table('sizes by the loss of the untouched network',
                        ('image', cost.unit, 'batches', 'loss on them', 'behind'), rows, left=0))
    if len(found.tried) > SHOWN:
        console.print(f'of {len(found.tried)} sizes; search.json has all')


def main():
    args = parse_options()
    cfg = read_config(args.config, args.cfg_options)
    given = dict(ms=args.target_ms, time=args.target, gmacs=args.gmacs or args.size)
    args.unit, targets = next((unit, values) for unit, values in given.items() if values)
    args.shape = args.shape and tuple(args.shape)
    options = FittingOptions(**{field.name: getattr(args, field.name)
                                for field in dataclasses.fields(FittingOptions)})
    fitting, console = Fitting(cfg, args.checkpoint, args.out, options), Console()
    if args.size:
        size = fitting.size(args.size)
        write_file(args.out / 'config.py', config_text(fitting.config(size)).encode())
        print(f'ok: {args.out / "config.py"}; its weights are those of {args.checkpoint}, which a '
              'fine-tuning makes better')
        return
    print(f'the network costs {fitting.stock_cost:.4g} {fitting.cost.unit} at an image of '
          '{} x {}'.format(*fitting.shape))
    done, planned = [], []
    for target in targets:
        found = search(fitting, target, args.batches)
        show(found, fitting.cost, console)
        tuned = fitting.candidates(found)
        if args.plan and not all(fitting.job(one).is_done for one in tuned):
            planned += [fitting.job(one) for one in tuned]
            continue
        tuned = fitting.compare(tuned)
        whole = fitting.job(tuned[0], whole=True)
        if args.plan and not whole.is_done:
            planned.append(whole)
            continue
        folder = args.out if len(targets) == 1 else args.out / f'{target:g}'
        fitted = write_fitted(fitting, target, found, tuned, fitting.finish(tuned[0]), folder,
                              args.onnx, args.resized_input)
        print(verdict(fitted))
        print(f'{fitted.after.score_name} {fitted.before.score():.2f} before, '
              f'{fitted.after.score():.2f} after; time '
              f'{fitted.ms:.4g} ms before, {fitted.ms * fitted.time:.4g} ms after '
              f'({fitted.time:.3f})')
        print(f'ok: {", ".join(FILES)} in {folder}')
        done.append(fitted)
    if planned:
        print(f'commands: {write_plan(planned, args.out)}; run them, then call this again')
    if len(done) > 1:
        save_figure(draw_frontier(done), args.out / 'frontier.png', dpi=130)
        print(f'ok: {args.out / "frontier.png"}')


if __name__ == '__main__':
    run_tool(main)
