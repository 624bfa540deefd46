"""How a network of any project runs on one image, for counts and probes."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from mmengine.model import BaseModel, BaseTTAModel, is_model_wrapper
from mmengine.model.averaged_model import BaseAveragedModel
from mmengine.registry import FUNCTIONS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmseg_dynopool.costs import GMACsCounter
from mmseg_dynopool.costs.meta_copy import run_plainly
from mmseg_dynopool.layers import ResizingPool, learned_pools
from mmseg_dynopool.layers.find import input_channels

# A size that every usual stride divides, and factors of the initial scales.
_SHAPE = (704, 832)
_PARTS = (0.9, 0.7)


class NetworkForward(NamedTuple):
    """How a network runs: the last two arguments of counters, probes and timings.

    ``forward(copy, image)`` runs a copy, with an image ``(N, C, H, W)``.
    """

    in_channels: int
    forward: Callable[[nn.Module, Tensor], Any]


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside its wrappers: DDP and the like, averages, test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, (BaseAveragedModel, BaseTTAModel)):
        model = model.get_submodule('module')
    return model


def forward_without_postprocessing(network: nn.Module, image: Tensor) -> Any:
    """Run backbone and heads of a model of mmengine."""
    return network(image, mode='tensor')


def predict(network: nn.Module, image: Tensor) -> Any:
    """Run a model's own ``predict`` on whole images, with made-up samples."""
    size = tuple(image.shape[-2:])
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
                scale_factor=(1.0, 1.0), padding_size=[0] * 4)
    samples = [BaseDataElement(metainfo=dict(meta, img_id=i)) for i in range(len(image))]
    with _without_windows(network):
        return network(image, samples, mode='predict')


def run_backbones(network: nn.Module, image: Tensor) -> list[Any]:
    """Run what owns the DynOPools, or the ``backbone`` of a network without any."""
    owners = {name.rpartition('.')[0].removesuffix('dynopools').removesuffix('.')
              for name, module in network.named_modules() if isinstance(module, ResizingPool)}
    return [network.get_submodule(name)(image) for name in sorted(owners or {'backbone'})]


def network_forward(network: nn.Module, shape: Sequence[int],
                    forward: str | Callable | None = None, in_channels: int | None = None
                    ) -> NetworkForward:
    """Find out how an unwrapped network runs, by trying.

    Backbone and heads without postprocessing if they run; else the network's own ``predict`` with
    made-up samples; else only what owns the DynOPools, with a warning. The arguments are those of
    `count_network_gmacs`.

    Raises:
        ValueError: ``forward`` or ``in_channels`` is malformed, or nothing of the network runs.
    """
    channels = input_channels(network, in_channels)
    if forward is not None:
        return NetworkForward(channels, find_function(forward))
    whole = ((forward_without_postprocessing, predict) if isinstance(network, BaseModel)
             else (run_plainly, ))
    problems = []
    for tried in (*whole, run_backbones):
        problem = _problem_of(GMACsCounter(network, shape, channels, tried))
        if problem:
            problems.append(f'{tried.__name__} {problem}')
            continue
        if tried is run_backbones:
            warnings.warn(
                f'{type(network).__name__} does not run as a whole on an image of {channels} x '
                f'{shape[0]} x {shape[1]}: {"; ".join(problems)}. Its backbone alone counts. Say '
                "how it runs by DynOPoolHook's forward='my_package.my_function', which is called "
                'with the network and an image', stacklevel=2)
        return NetworkForward(channels, tried)
    raise ValueError(f'{type(network).__name__} does not run on an image of {channels} x '
                     f'{shape[0]} x {shape[1]}: {"; ".join(problems)}. Give DynOPoolHook its '
                     'in_channels, or a forward')


def _problem_of(counter: GMACsCounter) -> str:
    """Why a network cannot be counted so; empty if it can."""
    try:
        calls = counter.calls()
    except Exception as error:  # from any network, of any type
        return (f'fails in {counter.running or "the network itself"} ({type(error).__name__}: '
                f'{error})')
    if not any(call.macs for call in calls):
        return 'runs no layer'
    if not counter.on_meta:  # what it finds in the image may decide what runs, as in a detector
        for pool in counter.pools.values():
            pool.set_scale_([_PARTS[0] / a for a in pool.read_alpha()])
        try:
            others = counter.calls()
        except Exception:  # it fails only at other sizes: see `check_other_sizes`
            return ''
        if [(c.module, c.op) for c in calls] != [(c.module, c.op) for c in others]:
            return 'runs other operators at other sizes'
    return ''


def tensors_of(outputs: Any) -> list[Tensor]:
    """All tensors in what a network returns, data samples included."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, (dict, BaseDataElement)):
        outputs = outputs.values()
    elif not isinstance(outputs, (list, tuple)):
        return []
    return [tensor for output in outputs for tensor in tensors_of(output)]


def loss_of(model: BaseModel, batch: Any) -> Tensor:
    """The loss of one of mmengine's models on a batch of its data loader, as in a training.

    The batch is copied: preprocessors pad labels in place, and Mixup writes into them.
    """
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    return model.parse_losses(model._run_forward(data, mode='loss'))[0]


def find_function(function: str | Callable) -> Callable:
    """A function, or the one of a name, see `count_network_gmacs`; a ValueError if none is."""
    found: Any = function
    if isinstance(function, str):
        with suppress(RuntimeError):  # mmengine's, of a path that leads nowhere
            found = FUNCTIONS.get(function)
    if not callable(found):
        raise ValueError('forward must be a function of the network and an image, its dotted path '
                         f"or its name in mmengine's FUNCTIONS, got {function!r}")
    return found


def check_other_sizes(network: nn.Module, shape: Sequence[int] | None = None,
                      forward: str | Callable | None = None, in_channels: int | None = None
                      ) -> None:
    """Check that the heads take features of whatever size the backbone's scales give.

    A network that does not run at its initial scales passes. ``shape`` is that of an image that it
    takes, tried if a common one does not run; for the rest see `network_forward`.

    Raises:
        ValueError: a head does not.
    """
    for tried in filter(None, (_SHAPE, shape)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # that the backbone alone counts
                run = network_forward(network, tried, forward, in_channels)
            counter = GMACsCounter(network, tried, *run)
            counter.calls()
            if tried is _SHAPE and shape and not counter.on_meta:
                continue  # an image of the usual size is cheaper
        except Exception:  # from any network, of any type
            continue
        for part in _PARTS:
            for name, pool in learned_pools(network).items():
                counter.pools[name].set_scale_(
                    [max(part * s, pool.bounds[0]) for s in pool.initial_scale])
            try:
                counter.calls()
            except Exception as error:
                raise ValueError(
                    f'{counter.running or "a head"} takes features of the stock sizes alone: it '
                    f'fails at {part} of the initial scales ({type(error).__name__}: {error}); '
                    'use a head that resizes to the size of a feature map') from error
        return


@contextmanager
def _without_windows(network: nn.Module) -> Iterator[None]:
    """Let a segmentor predict an image as a whole, whatever its ``test_cfg`` says."""
    windows = getattr(network, 'test_cfg', None)
    slides = isinstance(windows, dict) and windows.get('mode') == 'slide'
    if slides:
        network.test_cfg = type(windows)(windows, mode='whole')  # type: ignore[misc]
    try:
        yield
    finally:
        if slides:
            network.test_cfg = windows  # type: ignore[assignment]
