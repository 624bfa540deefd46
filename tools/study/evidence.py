"""Does it pay? Trains the runs of docs/evidence.md and writes the page.

    python tools/study fashion_scenes
    python tools/dataset_converters/mni152.py
    python tools/study evidence run --jobs 2      # goes on where it stopped
    python tools/study evidence times             # while nothing else runs
    python tools/study evidence page

Each finished run is a line of docs/evidence/runs.jsonl; docs/evidence/times.json are times of the
demo's networks, all measured by turns.
"""

import json
from pathlib import Path

from . import fit_runs, image_runs, tables
from .command_line import ROOT, chosen_runs, finished_lines, list_runs, study_parser
from .lines import train
from .runs import all_runs

LISTS = dict(evidence=all_runs, image_level=image_runs.all_runs, fit=fit_runs.all_runs)


def main():
    parser = study_parser(__doc__, 'evidence', 'hrnet/stretched_h/*/0.5/*', ('times', ))
    parser.add_argument('--study', choices=LISTS, default='evidence',
                        help='of which page in docs/ (default: evidence)')
    args = parser.parse_args()
    if args.lines == parser.get_default('lines'):
        args.lines = ROOT / 'docs' / args.study / 'runs.jsonl'
    runs = chosen_runs(parser, args, LISTS[args.study]())
    if args.command == 'list':
        list_runs(runs, args.lines)
    elif args.command == 'run':
        missing = sorted({run.folder for run in runs if not Path(run.folder).is_dir()})
        if missing:
            parser.error(f'{missing} are not there; tools/study fashion_scenes, tools/study '
                         'spoken_numbers and tools/dataset_converters/mni152.py prepare them; '
                         "start everything in the project's folder")
        from .train import finish, prepare_worker
        if args.study == 'fit':
            from .fits import finish
        if train(runs, args.lines, args.work_dir, args.jobs, finish, prepare_worker):
            raise SystemExit(1)
    elif args.command == 'times':
        from .times import write_times
        write_times(finished_lines(parser, args.lines), args.lines.with_name('times.json'))
    elif args.study != 'evidence':
        from . import fit_page, image_page
        pages = dict(image_level=image_page, fit=fit_page)
        tables.write_page(
            pages[args.study].tables(finished_lines(parser, args.lines), finished_lines(
                parser, parser.get_default('lines'))), ROOT / 'docs' / f'{args.study}.md')
    else:
        from .page_0_3 import write_page
        timed = args.lines.with_name('times.json')
        times = json.loads(timed.read_text()) if timed.is_file() else {}
        write_page(finished_lines(parser, args.lines), times, ROOT / 'docs' / 'evidence_0_3.md')
    if args.command == 'page':
        from . import overview
        overview.write_page(ROOT / 'docs')


if __name__ == '__main__':
    main()
