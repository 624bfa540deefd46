"""Export a trained network and verify that the file computes what PyTorch does."""

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel
from mmseg.models import BaseSegmentor
from mmseg.models.utils import Upsample, resize
from torch import Tensor, nn
from torch.export import Dim

from mmseg_dynopool.costs.count import check_shape
from mmseg_dynopool.files import make_folder, replace_file
from mmseg_dynopool.layers import FixedImageResize, freeze_pools
from mmseg_dynopool.layers.find import input_channels
from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.models.cost import takes
from mmseg_dynopool.version import __version__

FORMATS = {'onnx': '.onnx', 'torch-export': '.pt2'}
# Relative to the largest logit. Runtimes sum in another order; a wrong size or weight is far off.
_TOLERANCE = 1e-4
_MISSING = "ONNX needs onnx, onnxscript and onnxruntime: pip install 'mmseg_dynopool[export]'"


class InferenceNetwork(nn.Module):
    """A copy of a network as a function of tensors: image to logits, with fixed scales.

    Args:
        model: a segmentor or classifier.
        resized_input: omit the resizing of the image, for images that are resized already.

    Attributes:
        resize: the resizing that was left out: it then takes ``resize(image)``; else None.

    Raises:
        ValueError: it holds a ShapeAdaptor, which has no form with a constant scale; or
            ``resized_input`` is set and it does not resize the image.

    Examples:
        >>> import torch
        >>> from mmseg.registry import MODELS
        >>> from mmseg_dynopool.export import InferenceNetwork
        >>> model = MODELS.build(dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19),
        ...     test_cfg=dict(mode='whole')))
        >>> InferenceNetwork(model)(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 19, 64, 96])
    """

    def __init__(self, model: BaseModel, resized_input: bool = False):
        super().__init__()
        self.network = freeze_pools(model).cpu().float()
        for name, module in list(self.network.named_modules()):
            if type(module) is Upsample and not module.size and (
                    isinstance(module.scale_factor, float) and module.scale_factor.is_integer()):
                self.network.set_submodule(name, _Enlarge(module))
        self.resize: FixedImageResize | None = None
        if resized_input:
            levels = list(image_levels(self.network).values())
            if len(levels) != 1:
                raise ValueError(
                    f'resized_input leaves the resizing of the image out, and '
                    f'{type(model).__name__} does this at {len(levels)} places; export it without, '
                    'or train it with dynopool=dict(image=True)')
            level, = levels
            assert isinstance(level, FixedImageResize)  # it is frozen
            self.resize = copy.deepcopy(level)
            level.set_alpha_((1.0, 1.0))  # where it does nothing at all
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Logits ``(N, classes, H, W)``, of a classifier ``(N, classes)``, as float32.

        Args:
            image: ``(N, C, H, W)``, what the data preprocessor returns.
            size: ``(H, W)`` of a segmentor's logits; default: that of ``image``.
        """
        if not isinstance(self.network, BaseSegmentor):
            return self.network(image, mode='tensor')
        size = torch.Size(image.shape[2:] if size is None else size)
        return self.network.encode_decode(image, [dict(img_shape=size, pad_shape=size)])


class _Enlarge(nn.Module):
    """mmseg's Upsample by a whole factor, for a program of open sizes.

    The original calls ``int`` on a size times the factor, which binds the program to one size.
    """

    def __init__(self, upsample: Upsample):
        super().__init__()
        self.factor = int(upsample.scale_factor)
        self.mode, self.align_corners = upsample.mode, upsample.align_corners

    def forward(self, input: Tensor) -> Tensor:
        size = [self.factor * side for side in input.shape[-2:]]
        return resize(input, size, None, self.mode, self.align_corners, warning=False)


def export_program(model: BaseModel, path: str | Path, shape: Sequence[int],
                   format: str = 'onnx', dynamic: bool = False, resized_input: bool = False
                   ) -> list[dict]:
    """Write ``model`` as a program for other runtimes, then run and compare it.

    The program maps ``image`` ``(N, C, H, W)``, normalized, to ``logits`` ``(N, classes, H, W)``,
    of a classifier ``(N, classes)``, float32. An ONNX file has ordinary operators only. Its JSON
    metadata ``mmseg_dynopool`` has its channels and classes, how labels follow from the logits
    (``'argmax'``, or with one channel ``'sigmoid > 0.3'``), and what
    [`OnnxSegmentor`][mmseg_dynopool.export.OnnxSegmentor] needs.

    Args:
        model: a segmentor or classifier.
        path: file to write, ``.onnx`` or ``.pt2``; written once the comparison has succeeded.
        shape: height and width of the image in pixels.
        format: ``'onnx'`` or ``'torch-export'`` (a file for ``torch.export.load``).
        dynamic: leave batch, height and width open; else they are 1 and ``shape``.
        resized_input: omit the resizing of the image. The program then takes images of
            ``ImageResize.output_size(shape)``, and its logits have their size.

    Returns:
        The comparisons: ``dict(shape, image, max_difference, max_logit)`` each, with the shapes of
        what the program takes and of the image before it is resized.

    Raises:
        ValueError: an option is malformed, or the program's logits are not those of PyTorch.
        OSError: the file cannot be written.
        ImportError: a package of the extra ``export`` is missing.

    Examples:
        >>> import tempfile
        >>> from mmseg.registry import MODELS
        >>> from mmseg_dynopool.export import export_program
        >>> model = MODELS.build(dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19),
        ...     test_cfg=dict(mode='whole')))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = export_program(model, f'{folder}/net.pt2', (64, 96), 'torch-export')
        >>> rows[0]['shape'], round(rows[0]['max_difference'], 3)  # from PyTorch's logits
        ((1, 3, 64, 96), 0.0)
    """
    if format not in FORMATS:
        raise ValueError(f'format must be one of {list(FORMATS)}, got {format!r}')
    check_shape(shape)
    path = Path(path)
    if path.suffix != FORMATS[format]:
        raise ValueError(f'a file of format {format!r} ends in {FORMATS[format]!r}, got '
                         f'{str(path)!r}; change the name or the format')
    if path.is_dir():
        raise ValueError(f'cannot write the program to {str(path)!r}: it is a folder; name a file')
    make_folder(path.parent)
    network = InferenceNetwork(model, resized_input)
    resize, whole = network.resize, InferenceNetwork(model) if resized_input else network
    taken = shape if resize is None else resize.output_size(shape)
    unproven = path.with_name(f'.{path.stem}.unproven{path.suffix}')
    try:
        example = _example(network, 1 + dynamic, taken)
        if format == 'onnx':
            _write_onnx(network, unproven, example, dynamic)
            _describe(unproven, model, None if dynamic else list(shape), resize)
            run = _load_onnx(unproven)
        else:
            axes = dict.fromkeys((0, 2, 3), Dim.DYNAMIC) if dynamic else None
            program = torch.export.export(network, (example, ), dynamic_shapes={'image': axes},
                                          strict=False)
            torch.export.save(program, unproven)
            run = _load_exported(unproven, taken)
        height, width = shape
        trials = [(1, height, width)]
        if dynamic:  # odd sizes if it takes them, other aspects, a batch
            odd, wide = (height + 17, width + 34), (height + 1, 2 * width - 1)
            trials += [(2, *odd) if takes(model, odd) else (2, 2 * height, width),
                       (1, *wide) if takes(model, wide) else (1, height, 2 * width),
                       (1, width, height)]
        compared = [_compare(whole, resize, run, *trial) for trial in trials]
        replace_file(unproven, path)
    finally:
        unproven.unlink(missing_ok=True)
    return compared


def _example(network: InferenceNetwork, batch: int, shape: Sequence[int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, input_channels(network), *shape, generator=generator)


@torch.no_grad()
def _compare(whole: InferenceNetwork, resize: FixedImageResize | None,
             run: Callable[[Tensor], Tensor], batch: int, *shape: int) -> dict:
    """Compare the program with the whole network, which resizes the image itself."""
    image = _example(whole, batch, shape)
    taken = image if resize is None else resize(image)
    expected, found = whole(image, taken.shape[2:]), run(taken)
    if found.shape != expected.shape:
        raise ValueError(f'the exported program gives logits of shape {tuple(found.shape)} for an '
                         f'image of {tuple(taken.shape)}, PyTorch gives {tuple(expected.shape)}; '
                         'nothing was written')
    row = dict(shape=tuple(taken.shape), image=tuple(image.shape),
               max_difference=(found - expected).abs().max().item(),
               max_logit=expected.abs().max().item())
    if not row['max_difference'] <= _TOLERANCE * max(1.0, row['max_logit']):
        raise ValueError(f'the exported program differs from PyTorch by {row}; nothing was written')
    return row


def _load_exported(path: Path, shape: Sequence[int]) -> Callable[[Tensor], Tensor]:
    program = torch.export.load(path).module()

    def run(image: Tensor) -> Tensor:
        try:
            return program(image)
        except (AssertionError, RuntimeError) as error:  # a guard on a size
            raise ValueError(
                f'the exported program refuses an image of {tuple(image.shape)} ({error}). Where '
                'a feature map of the example has a side of 1, the program is bound to it: export '
                f'with a larger example than {shape[0]} x {shape[1]}') from error

    return run


def _write_onnx(network: InferenceNetwork, path: Path, example: Tensor, dynamic: bool) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  else torch's own message names no extra
    except ImportError as error:
        raise ImportError(_MISSING) from error
    names = {0: 'batch', 2: 'height', 3: 'width'} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # of the exporter to itself
        torch.onnx.export(network, (example, ), path, dynamo=True, input_names=['image'],
                          output_names=['logits'], dynamic_shapes={'image': names},
                          external_data=False, verbose=False)


def _load_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda image: torch.from_numpy(session.run(None, {'image': image.numpy()})[0])


def _describe(path: Path, model: BaseModel, shape: list[int] | None,
              resize: FixedImageResize | None) -> None:
    """Check the operators and add the metadata."""
    import onnx
    program = onnx.load(path)
    foreign = {node.domain for node in program.graph.node} - {'', 'ai.onnx'}
    if foreign or program.functions:
        raise ValueError(f'the ONNX program holds operators of {sorted(foreign)} or functions; '
                         'a head of this network has no ordinary ONNX form')
    dataset_meta = getattr(model, 'dataset_meta', None) or {}
    meta = dict(
        version=__version__, shape=shape, in_channels=input_channels(model),
        resize=resize and dict(alpha=resize.read_alpha(), multiple=resize.multiple),
        dataset_meta={k: v for k, v in dataset_meta.items() if k in ('classes', 'palette')})
    if isinstance(model, BaseSegmentor):
        head = model.decode_head
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        threshold = getattr(head, 'threshold', None)
        meta.update(out_channels=model.out_channels, num_classes=model.num_classes,
                    align_corners=model.align_corners, threshold=threshold,
                    label=f'sigmoid > {threshold}' if model.out_channels == 1 else 'argmax')
    entry = program.metadata_props.add()
    entry.key = 'mmseg_dynopool'
    entry.value = json.dumps(meta, default=lambda value: np.asarray(value).tolist())  # a palette
    onnx.save(program, path)
