"""What the cases of bad input work with: a small project, its checkpoint, the tools."""

import importlib
import shutil
from functools import cached_property
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import init_model
from mmseg.registry import MODELS
from mmseg.utils import get_classes, get_palette

from mmseg_dynopool.export import export_program
from support import commands
from support.toys import (
    ONE_STAGE,
    ROOT,
    TWO_STREAMS,
    segmentor_config,
    write_cityscapes,
    write_project,
)

META = dict(classes=get_classes('cityscapes'), palette=get_palette('cityscapes'))
OPTIONS = 'train_cfg.max_iters=1', 'train_cfg.val_interval=1'


class Project:
    """A user's project: two configs, a checkpoint and a tree of data, made once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = write_cityscapes(folder / 'data', count=2, size=(66, 80))
        write_project(folder, self.data)
        self.config = folder / 'my_dynopool_config.py'
        init_default_scope('mmseg')
        cfg = Config.fromfile(self.config)
        self.model = MODELS.build(cfg.model)
        self.checkpoint = folder / 'good.pth'
        torch.save(dict(state_dict=self.model.state_dict(), meta=dict(dataset_meta=META)),
                   self.checkpoint)

    def ready_model(self):
        """The network as mmseg's ``init_model`` makes it; a new one each time."""
        return init_model(str(self.config), str(self.checkpoint), 'cpu')

    @cached_property
    def frozen(self) -> Path:
        """What tools/freeze.py makes of the checkpoint."""
        folder = self.folder / 'frozen'
        commands.tool('freeze', self.config, self.checkpoint, '--out', folder, cwd=self.folder)
        return folder

    @cached_property
    def latency(self) -> Path:
        """What tools/latency.py makes of the config."""
        path = self.folder / 'latency.json'
        commands.tool('latency', self.config, '--settings', 8, '--repeats', 2, '--out', path,
                      cwd=self.folder)
        return path

    @cached_property
    def onnx(self) -> Path:
        """An ONNX file of a smaller network of the same classes, for images of 48 x 64."""
        path = self.folder / 'net.onnx'
        cfg = segmentor_config(channels=TWO_STREAMS, modules=ONE_STAGE)
        cfg['decode_head']['num_classes'] = len(META['classes'])
        model = MODELS.build(cfg)
        model.eval()
        model.dataset_meta = META
        export_program(model, path, (48, 64))
        return path

    @property
    def images(self) -> list[Path]:
        return sorted(self.data.glob('leftImg8bit/train/town/*.png'))

    @property
    def labels(self) -> list[Path]:
        return sorted(self.data.glob('gtFine/train/town/*.png'))


class Bench:
    """One case's folder, and calls whose answer is the text that the user sees.

    Attributes:
        folder: an empty folder, the working directory of the case.
        project: shared with other cases: read it, don't write it; `copy_data` copies.
    """

    def __init__(self, folder: Path, project: Project):
        self.folder = folder
        self.project = project

    def tool(self, name: str, *args, ok: bool = False) -> str:
        """Run ``tools/NAME.py`` in this process; returns all it prints and its last word."""
        return commands.tool(name, *args, cwd=self.folder, ok=ok)

    def call(self, function, *args, ok: bool = False, **kwargs) -> str:
        """Call a function of the package; returns what it prints and its error."""
        return commands.watch(lambda: function(*args, **kwargs), self.folder, ok)

    def build(self, ok: bool = False, **options) -> str:
        """Build the project's model, with ``options`` of its own."""
        cfg = Config.fromfile(self.project.config)
        cfg.merge_from_dict(dict(model=options))
        return self.call(MODELS.build, cfg.model, ok=ok)

    def train(self, *options, config=None, ok: bool = False, flags=()) -> str:
        """``tools/train.py`` for one iteration."""
        return self.tool('train', config or self.project.config, '--work-dir', 'run', *flags,
                         '--cfg-options', *OPTIONS, *options, ok=ok)

    def infer(self, image, *flags, config=None, checkpoint=None, ok: bool = False) -> str:
        """``tools/infer.py``, writing to the folder ``out``; no file may be left by halves."""
        seen = self.tool('infer', config or self.project.config,
                         checkpoint or self.project.checkpoint, image,
                         *([] if '--out' in flags else ['--out', 'out']), *flags, ok=ok)
        out = self.folder / 'out'
        left = [p for p in out.rglob('*') if p.is_file() and p.suffix != '.png']
        assert not left and (ok or not out.exists()), f'left behind: {left}'
        return seen

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_config(self, *lines: str, base: Path | None = None, name: str = 'bad.py') -> Path:
        """A config on top of the project's."""
        return self.write(name, '\n'.join([f'_base_ = {str(base or self.project.config)!r}',
                                           *lines]) + '\n')

    def copy_data(self) -> tuple[list[Path], list[Path], str]:
        """A copy of the data: images, label maps, and the option that names it."""
        root = shutil.copytree(self.project.data, self.folder / 'data')
        return (sorted(root.glob('leftImg8bit/train/town/*.png')),
                sorted(root.glob('gtFine/train/town/*.png')),
                f'train_dataloader.dataset.data_root={root}')


def load_cases() -> dict:
    """The cases of every module ``cases_*.py`` beside this file, by their row's id."""
    found = {}
    for path in sorted((ROOT / 'tests' / 'bad_input').glob('cases_*.py')):
        module = importlib.import_module(f'bad_input.{path.stem}')
        for name, value in vars(module).items():
            if callable(value) and getattr(value, '__module__', '') == module.__name__ and not (
                    name.startswith('_')):
                row = name.replace('_', '-')
                assert row not in found, f'two cases are named {row}'
                found[row] = value
    return found
