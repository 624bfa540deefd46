"""The pictures of docs/gallery, from the demo's networks: runs each command and notes it.

Needs what tools/demo.py wrote. Trains the demo's learned network once more, with DynOPools in the
stem instead of the image level, unless that run exists: minutes on two CPU cores. Screenshots need
Chromium and are omitted without it.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demo import ITERATIONS, schedule
from mmseg_dynopool.files import make_folder, write_file
from mmseg_dynopool.resume.latest import latest_checkpoint

TOOLS = Path(__file__).resolve().parents[1]
CONFIG = TOOLS.parent / 'configs' / 'demo_dynopool_mni152.py'
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
# A window cannot be as narrow as a phone; a frame can.
FRAME = ('<!DOCTYPE html><body style="margin:0"><iframe src="{}" style="width:{}px;height:{}px;'
         'border:0"></iframe></body>')
INTRODUCTION = """# What the network learned, in pictures

Made by `make gallery` from the three networks of `make demo` and one more: small HRNets, 300
iterations on slices of one brain, minutes on two CPU cores. They show the tools; they prove nothing
about accuracy.
"""


@dataclass
class Section:
    """One part of the gallery.

    Attributes:
        title, text: its heading and what to see.
        commands: tools and their arguments; the last one makes the pictures.
        pictures: by file name, what it shows.
        prints: whether what the command prints belongs to it.
    """

    title: str
    text: str
    commands: list[list]
    pictures: dict[str, str]
    prints: bool = False


def train(demo: Path) -> list:
    """The command that trains the demo's network with DynOPools in its stem."""
    return ['train.py', os.path.relpath(CONFIG), '--work-dir', demo / 'stem', '--cfg-options',
            'model.backbone.dynopool.image=False', 'model.backbone.dynopool.stem=True',
            *(f'{name}={value}' for name, value in schedule(ITERATIONS).items())]


def sections(demo: Path, image: Path, out: Path) -> list[Section]:
    """All parts, in their order."""
    learned, stem, fixed, smaller = (
        demo / name for name in ('dynopool', 'stem', 'fixed', 'smaller'))
    config = os.path.relpath(CONFIG)
    checkpoint = learned / Path(latest_checkpoint(learned)).name
    return [
        Section(
            'Shapes over the training', 'Two trainings that end at half of the multiply-adds: with '
            "the image's own size as the first level (`dynopool`), and with DynOPools in the stem "
            'in its place (`stem`). Each level has a column. The image begins at 1, the other '
            'scales at 0.5, the stride 2 of the stock network; the rounded sizes move in steps. '
            'The third row is the slope of the loss by log(scale), with its standard error: where '
            '0 lies within two of its errors, the data do not care. The cost follows its plan. In '
            'the last 15 % of a training the scales stand at the sizes whose counted cost is '
            'nearest to the target.',
            [train(demo), ['visualize.py', 'shapes', learned, stem, '--out', out]],
            {'evolution.png': 'Scales, sizes, slopes and GMACs over the iterations',
             'network.png': 'Feature maps of the stock and both learned networks to scale'}),
        Section(
            'Aggregation', "Which input bins make up the hatched output bin, from the operators' "
            "own Jacobians (the supplement's Figure 1). DynOPool's range ends at its window's "
            "neighbours; Shape Adaptor's follows its branches.",
            [['visualize.py', 'aggregation', '--scale', '0.625', '--out',
              out / 'aggregation.png']],
            {'aggregation.png': 'Weights of input bins at the target ratio 0.625'}),
        Section(
            'Aggregation at one half', 'At r = 0.5 DynOPool is the 2 x 2 pooling of the stock '
            'network. Branches of other ratios show what Shape Adaptor does on its way there.',
            [['visualize.py', 'aggregation', '--scale', '0.5', '--ratios', '0.25', '1', '--out',
              out / 'aggregation_half.png']],
            {'aggregation_half.png': 'Weights of input bins at the target ratio 0.5'}),
        Section(
            'Receptive fields', 'Gradient of the centre unit of each stream, and of the centre '
            'logit, with respect to the image: at the learned scales above, and with the same '
            'weights at the sizes of the stock network below. (The stock HRNet itself '
            'sees a little less in theory: its strides do not pool.) Below them the '
            'numbers, in pixels of the image, height x width.',
            [['visualize.py', 'receptive-field', config, checkpoint, image, '--out',
              out / 'receptive_field.png']],
            {'receptive_field.png': 'Receptive fields of each stream, learned above stock'}, True),
        Section(
            'Analysis of a data set', 'Before any training: how much of the energy of images and '
            'label maps lies above what a scale keeps (height | width), and where to start. '
            'It describes the data alone. What pays under a cost, the training decides: above it '
            'may well have learned the opposite of the starting scales.',
            [['analyze_dataset.py', config, '--images', '50', '--out', out / 'data_set.png']],
            {'data_set.png': 'Energy above a scale, and how far contents reach'}, True),
        Section(
            'Report', 'One HTML page about a training, beside its baselines; it opens from the '
            'disk. On a desktop and on a phone (cut off below):',
            [['report.py', learned, '--baseline', fixed, smaller, '--out', demo / 'report.html']],
            {'report_desktop.png': 'The report at 1280 pixels',
             'report_phone.png': 'The report at 390 pixels'}),
    ]


def words(command: list) -> str:
    """The command as a shell takes it."""
    return f'python tools/{shlex.join(map(str, command))}'


def run(command: list) -> str:
    """Run a tool; returns what it printed."""
    print(f'$ {words(command)}', flush=True)
    done = subprocess.run([sys.executable, TOOLS / command[0], *map(str, command[1:])], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f'{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    return done.stdout


def table_of(printed: str) -> str:
    """The printed text from its first table on, without what libraries say before it."""
    lines = printed.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith('┏')), 0)
    last = max((i for i, line in enumerate(lines) if line.startswith(('picture:', 'ok:'))),
               default=len(lines))
    return '\n'.join(line.rstrip() for line in lines[first:last])


def screenshot(browser: str, page: Path, out: Path, width: int, height: int) -> None:
    """The upper part of a page, as a browser shows it in a window of that size in pixels."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder, 'frame.html')
        frame.write_text(FRAME.format(page.resolve().as_uri(), width, height))
        taken = Path(folder, 'taken.png')
        subprocess.run(
            [browser, '--headless', *(['--no-sandbox'] if os.geteuid() == 0 else []),
             '--disable-gpu', '--no-first-run', '--disable-background-networking',
             '--hide-scrollbars', f'--user-data-dir={folder}/profile',
             '--virtual-time-budget=10000', f'--window-size={max(width, 500)},{height + 200}',
             f'--screenshot={taken}', frame.as_uri()],
            check=True, capture_output=True, timeout=120)
        with Image.open(taken) as image:
            image.crop((0, 0, width, height)).save(out)


def shrink(path: Path) -> None:
    """Store a picture with 256 colours: a third of the bytes; rare colours stay."""
    with Image.open(path) as image:
        small = image.convert('RGB').quantize(256, Image.Quantize.MAXCOVERAGE)
    small.save(path, optimize=True)


def describe(section: Section, printed: str, out: Path) -> str:
    """The section as Markdown."""
    commands = '\n'.join(map(words, section.commands))
    text = f'\n## {section.title}\n\n{section.text}\n\n```bash\n{commands}\n```\n'
    for name, shown in section.pictures.items():
        if Path(out, name).is_file():
            text += f'\n![{shown}]({name})\n'
    return text + (f'\n```\n{table_of(printed)}\n```\n' if section.prints else '')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'),
                        help='what the demo left (default: work_dirs/demo)')
    parser.add_argument('--data-dir', type=Path, default=Path('data/mni152'),
                        help="the demo's data (default: data/mni152)")
    parser.add_argument('--out', type=Path, default=Path('docs/gallery'),
                        help='folder to write (default: docs/gallery)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override settings of the training with the stem')
    args = parser.parse_args()
    demo, out = args.work_dir, args.out
    images = sorted((args.data_dir / 'images' / 'val').glob('*.png'))
    for name in ('dynopool', 'fixed', 'smaller'):
        if not images or latest_checkpoint(demo / name) is None:
            raise SystemExit(f'{demo / name} holds no trained network, or {args.data_dir} no data; '
                             'run tools/demo.py first')
    make_folder(out)
    if latest_checkpoint(demo / 'stem') is None:
        run([*train(demo), *args.cfg_options])
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    text = INTRODUCTION
    for section in sections(demo, images[len(images) // 2], out):
        printed = run(section.commands[-1])
        if section.title == 'Report':
            if browser is None:
                print('no Chromium: no new screenshots')
            else:
                screenshot(browser, demo / 'report.html', out / 'report_desktop.png', 1280, 1900)
                screenshot(browser, demo / 'report.html', out / 'report_phone.png', 390, 1900)
        for name in section.pictures:
            with contextlib.suppress(FileNotFoundError):
                shrink(out / name)
        text += describe(section, printed, out)
    write_file(out / 'README.md', text.encode())
    print(f'ok: {out / "README.md"}')


if __name__ == '__main__':
    main()
