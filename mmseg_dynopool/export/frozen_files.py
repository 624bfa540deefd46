"""The files of a frozen network, verified before they get their names."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import save_checkpoint
from torch.testing import assert_close

from mmseg_dynopool.checkpoints import Checkpoint, load_network, save_safetensors
from mmseg_dynopool.config import how_to_run
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.files import make_folder, replace_file
from mmseg_dynopool.layers import freeze_pools, learned_pools
from mmseg_dynopool.layers.find import all_pools, by_short_name
from mmseg_dynopool.models.cost import takes
from mmseg_dynopool.models.whole_network import network_forward, tensors_of

from .budget_outcome import budget_outcome
from .freeze import freeze_config

WRITTEN = ('config.py', 'checkpoint.pth', 'weights.safetensors')
# Even, odd, of another aspect. Not every network takes odd sizes.
_TRIALS = ((128, 256), (97, 131), (224, 96))


def freeze_checkpoint(cfg: Config, checkpoint: str | Checkpoint, out: str | Path
                      ) -> dict[str, list[float]]:
    """Write the config and the weights of a trained network with constant scales.

    The network of the written files is compared with the trained one before they get their names.
    A warning says if it misses its config's budget, as a best checkpoint from before the scales
    settled does.

    Args:
        cfg: the config of the trained network.
        checkpoint: its weights, or their file or URL.
        out: folder for ``config.py``, ``checkpoint.pth`` and ``weights.safetensors``.

    Returns:
        The frozen scales, ``{instance: [scale_h, scale_w]}``.

    Raises:
        ValueError: the checkpoint does not fit, or there is nothing to freeze.
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
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint.read(checkpoint)
    model = load_network(cfg, checkpoint)
    outcome = budget_outcome(cfg, model, checkpoint)
    if outcome and not outcome.is_met:
        warnings.warn(f'the budget is missed: {outcome}. Freeze a checkpoint that was written '
                      'after the scales had settled, as the last one of a whole training',
                      stacklevel=2)
    frozen_cfg = freeze_config(cfg, model)
    scales = {name: pool.scale.tolist() for name, pool in by_short_name(all_pools(model)).items()}
    meta = dict(dataset_meta=model.dataset_meta)
    state = freeze_pools(model).state_dict()
    make_folder(out)
    with TemporaryDirectory(dir=out, prefix='.unproven') as unproven:
        folder = Path(unproven)
        save_checkpoint(dict(state_dict=state, meta=meta), str(folder / 'checkpoint.pth'))
        save_safetensors(state, folder / 'weights.safetensors', meta)
        # mmengine puts the folder's name there, which may hold quotes.
        beside = 'load_from = r"""{{ fileDirname }}/checkpoint.pth"""\n'
        (folder / 'config.py').write_bytes((config_text(frozen_cfg) + beside).encode())
        pth, safetensors = (Checkpoint.read(str(folder / name)) for name in WRITTEN[1:])
        written = load_network(Config.fromfile(folder / 'config.py'), pth)
        safetensors.verify(written)
        try:
            for found in (pth, safetensors):
                assert_close(found.state, state, rtol=0, atol=0)
            if learned_pools(written):
                raise AssertionError('a scale learns')
            _compare_outputs(model, written, **how_to_run(cfg))
        except AssertionError as error:
            raise RuntimeError('what was written differs from the trained network, so it was '
                               f'removed. Please report this: {error}') from error
        for name in WRITTEN:
            replace_file(folder / name, Path(out, name))
    return scales


@torch.no_grad()
def _compare_outputs(model: BaseModel, written: BaseModel, **how_to_run: Any) -> None:
    """Compare on random images of sizes that the network takes; AssertionError if a bit differs."""
    generator = torch.Generator().manual_seed(0)
    for size in _TRIALS:
        if not takes(model, size, **how_to_run):
            continue
        channels, forward = network_forward(model, size, **how_to_run)
        image = torch.randn(1, channels, *size, generator=generator)
        found, expected = (tensors_of(forward(network, image)) for network in (written, model))
        assert_close(found, expected, rtol=0, atol=0)
