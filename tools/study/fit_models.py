"""Which of mmseg's model files `fit` takes: writes docs/fit_models.md.

    python tools/study fit_models

The sizes that each can have at half of its multiply-adds, for images of 128 x 128, and how many
inner levels `--levels all` finds. Its loss was taken at the lowest, the plain and the widest of
them, with weights of noise: what is good for it, a trained one will say.
"""

import logging
import textwrap
import warnings
from pathlib import Path

import mmseg
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.files import write_file
from mmseg_dynopool.fit.fitting import sizable
from mmseg_dynopool.layers.find import learned_pools
from mmseg_dynopool.models.whole_network import loss_of, network_forward
from mmseg_dynopool.search.image_sizes import ImageSizes
from mmseg_dynopool.search.search import norms_by_batch

from .tables import markdown

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(mmseg.__file__).parent / '.mim/configs/_base_/models'
SIZE = (128, 128)
TARGET = 0.5


def batch(size):
    draw = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 2, (1, *size), generator=draw))
        sample.gt_edge_map = PixelData(data=torch.randint(0, 2, (1, *size), generator=draw))
        samples.append(sample)
    images = [torch.randint(0, 255, (3, *size), generator=draw, dtype=torch.uint8)
              for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


def row(path):
    """Model file, what its image's sides are multiples of, the sizes, and inner levels."""
    try:
        cfg = Config.fromfile(path)
    except ImportError as error:
        return [path.stem, '-', f'the stock model does not run here: {first_line(error)}', '-', '-']
    cfg.setdefault('data_preprocessor', dict(type='SegDataPreProcessor'))
    cfg.data_preprocessor.update(size=SIZE, size_divisor=None, seg_pad_val=255)
    cfg.model.data_preprocessor = cfg.data_preprocessor
    try:
        MODELS.build(cfg.model)
    except Exception as error:  # from any model, of any type: it lacks packages or operators
        return [path.stem, '-', f'the stock model does not run here: {first_line(error)}', '-', '-']
    try:
        model = sizable(cfg, lambda cfg: MODELS.build(cfg.model))
        cost = probe_complexity(model, SIZE, *network_forward(model, SIZE))
        (name, level), = learned_pools(model).items()
        count = cost.counted(model)
        sizes = ImageSizes(cost, count, name, level.multiple, level.bounds).at(
            TARGET * count({name: [1., 1.]}))
        plain = min(sizes, key=lambda size: abs(size.aspect))
        with torch.no_grad(), norms_by_batch(model):
            for size in (sizes[0], plain, sizes[-1]):
                level.set_alpha_([1 / s for s in size.scale])
                loss_of(model, batch(SIZE))
    except Exception as error:
        return [path.stem, '-', f'refused: {first_line(error)}', '-', '-']
    try:
        levels = len(learned_pools(sizable(cfg, lambda cfg: MODELS.build(cfg.model), 'all'))) - 1
    except Exception:
        levels = '-'
    return [path.stem, level.multiple, f'{sizes[0]} to {sizes[-1]} ({len(sizes)})', str(plain),
            levels]


def first_line(error):
    text = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {textwrap.shorten(text[0], 80)}'.replace('|', '/')


def main():
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    init_default_scope('mmseg')
    torch.set_num_threads(1)
    rows = []
    for path in sorted(FOLDER.glob('*.py')):
        rows.append(row(path))
        print(*rows[-1], flush=True)
    head = ['model file', 'multiples of', 'sizes at half the cost (number)',
            'the plain smaller input', 'inner levels']
    text = '\n\n'.join(['# Which models fit takes', __doc__.split('\n\n')[2].strip(),
                        markdown(head, rows)])
    write_file(ROOT / 'docs' / 'fit_models.md', f'{text}\n'.encode())


if __name__ == '__main__':
    main()
