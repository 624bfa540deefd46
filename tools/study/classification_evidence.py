"""Do classifiers learn the shape of their data? Trains the runs of a page and writes it.

    python tools/study classification_evidence run --jobs 2      # goes on where it stopped
    python tools/study classification_evidence page

Needs the extra classification. The data are Fashion-MNIST's: Debian's dataset-fashion-mnist, or
its four unpacked files in data/fashion_mnist. Each finished run is a line of
docs/classification_evidence/runs.jsonl, the page is docs/classification_evidence.md.
"""

from .classifier_runs import all_runs
from .command_line import ROOT, chosen_runs, finished_lines, list_runs, study_parser
from .lines import train

NAME = 'classification_evidence'


def main():
    parser = study_parser(__doc__, NAME, 'vgg/stretched_h/*')
    args = parser.parse_args()
    runs = chosen_runs(parser, args, all_runs())
    if args.command == 'list':
        list_runs(runs, args.lines)
    elif args.command == 'run':
        from .classifiers import FOLDER, finish, prepare_data
        from .train import prepare_worker
        prepare_data()
        if not FOLDER.is_dir():
            parser.error(f'{str(FOLDER)!r} is not there; put the unpacked files of Fashion-MNIST '
                         "there, and start everything in the project's folder")
        if train(runs, args.lines, args.work_dir, args.jobs, finish, prepare_worker, 'accuracy'):
            raise SystemExit(1)
    else:
        from .classifier_page import write_page
        write_page(finished_lines(parser, args.lines), ROOT / 'docs' / f'{NAME}.md')


if __name__ == '__main__':
    main()
