"""The files of a frozen network, proven before they get their names."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import save_checkpoint

from mmseg_dynopool.checkpoints import Checkpoint, load_network, save_safetensors
from mmseg_dynopool.checkpoints.checkpoint import SCALES
from mmseg_dynopool.files import make_folder
from mmseg_dynopool.layers.find import all_pools, by_short_name, input_channels
from mmseg_dynopool.models.cost import forward_without_postprocessing, takes

from .freeze import freeze_config, frozen_state

WRITTEN = ('config.py', 'checkpoint.pth', 'weights.safetensors')
# Even, odd, of another aspect. Not every network takes odd sizes.
_TRIALS = ((128, 256), (97, 131), (224, 96))


def freeze_checkpoint(cfg: Config, checkpoint: str, out: str | Path) -> dict[str, list[float]]:
    """Write the config and the weights of a trained network with constant scales.

    The written files are read and built anew. Their weights and that network's outputs are
    compared with the trained one's before they get their names.

    Args:
        cfg: the config of the trained network.
        checkpoint: its weights: a file or URL.
        out: folder for ``config.py``, ``checkpoint.pth`` and ``weights.safetensors``; made where
            it is missing.

    Returns:
        The frozen scales, ``{instance: [scale_h, scale_w]}``.

    Raises:
        ValueError: the checkpoint does not fit, or there is nothing to freeze; see
            [`freeze_config`][mmseg_dynopool.export.freeze_config].
        RuntimeError: what was written is not the trained network.

    Examples:
        >>> import tempfile
        >>> from contextlib import redirect_stdout
        >>> from pathlib import Path
        >>> import torch
        >>> from mmengine import Config
        >>> from mmseg.registry import MODELS
        >>> from mmseg_dynopool.export import freeze_checkpoint
        >>> cfg = Config(dict(model=dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19),
        ...     test_cfg=dict(mode='whole'))))
        >>> quiet = redirect_stdout(None)  # mmengine logs deprecations of its own
        >>> with tempfile.TemporaryDirectory() as folder, quiet:
        ...     torch.save(MODELS.build(cfg.model).state_dict(), f'{folder}/net.pth')
        ...     scales = freeze_checkpoint(cfg, f'{folder}/net.pth', f'{folder}/frozen')
        ...     files = sorted(path.name for path in Path(folder, 'frozen').iterdir())
        >>> files, scales['stride2']
        (['checkpoint.pth', 'config.py', 'weights.safetensors'], [0.5, 0.5])
    """
    model = load_network(cfg, checkpoint)
    frozen_cfg = freeze_config(cfg, model)
    scales = {name: pool.scale.tolist() for name, pool in by_short_name(all_pools(model)).items()}
    meta = {'dataset_meta': model.dataset_meta, SCALES: scales}
    state = frozen_state(model)
    make_folder(out)
    with TemporaryDirectory(dir=out, prefix='.unproven') as unproven:
        folder = Path(unproven)
        save_checkpoint(dict(state_dict=state, meta=meta), str(folder / 'checkpoint.pth'))
        save_safetensors(state, folder / 'weights.safetensors', meta)
        frozen_cfg.load_from = '{{ fileDirname }}/checkpoint.pth'
        (folder / 'config.py').write_text(frozen_cfg.pretty_text)
        pth, safetensors = (Checkpoint.read(str(folder / name)) for name in WRITTEN[1:])
        written = load_network(Config.fromfile(folder / 'config.py'), pth)
        safetensors.verify(written)
        equal = _equal(pth.state, state) and _equal(safetensors.state, state)
        if not equal or not _same_outputs(model, written):
            raise RuntimeError('what was written differs from the trained network, so it was '
                               'removed. Please report this')
        for name in WRITTEN:
            os.replace(folder / name, Path(out, name))
    return scales


def _equal(state: dict, other: dict) -> bool:
    return state.keys() == other.keys() and all(
        torch.equal(state[key], other[key]) for key in state)


@torch.no_grad()
def _same_outputs(model: BaseModel, written: BaseModel) -> bool:
    """Whether every bit is equal on random images."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(1, input_channels(model), *size, generator=generator)
              for size in _TRIALS if takes(model, size)]
    return all(torch.equal(*(forward_without_postprocessing(network, image)
                             for network in (model, written))) for image in images)
