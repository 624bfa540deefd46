"""What the command lines of the studies share."""

import argparse
from fnmatch import fnmatchcase
from pathlib import Path

from mmseg_dynopool.cli.options import positive_int

from .lines import read_lines

ROOT = Path(__file__).resolve().parents[2]


def study_parser(description: str, name: str, example: str, more: tuple[str, ...] = ()
                 ) -> argparse.ArgumentParser:
    """Options of a study whose page is ``docs/NAME.md``; ``example`` is a pattern of keys.

    ``more`` are commands beside list, run and page.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=('list', 'run', 'page', *more),
                        help=f'page: write docs/{name}.md and its figures from --lines')
    parser.add_argument('--only', nargs='+', default=['*'], metavar='PATTERN',
                        help=f"of list and run: by keys, e.g. '{example}'")
    parser.add_argument('--jobs', type=positive_int, default=1, help='runs side by side')
    parser.add_argument('--lines', type=Path, default=ROOT / 'docs' / name / 'runs.jsonl')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs', name))
    return parser


def chosen_runs(parser: argparse.ArgumentParser, args: argparse.Namespace, runs: list) -> list:
    """Those whose keys match ``--only``."""
    chosen = [run for run in runs if any(fnmatchcase(run.key, p) for p in args.only)]
    if not chosen:
        parser.error(f'no run matches {args.only}; the command list shows them')
    return chosen


def finished_lines(parser: argparse.ArgumentParser, lines: Path) -> dict[str, dict]:
    """The finished runs by key, of which a page can be written."""
    done = read_lines(lines)
    if not done:
        parser.error(f'{lines} holds no finished run; the command run trains them')
    return done


def list_runs(runs: list, lines: Path) -> None:
    """Print which are done."""
    done = read_lines(lines)
    print('\n'.join(f'{"done" if run.key in done else "    "} {run.key}' for run in runs))
