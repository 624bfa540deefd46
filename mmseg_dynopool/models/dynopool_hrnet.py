"""HRNet in which each stream's resolution is learned (supplement, section 1.1, rule 3)."""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.models.backbones import HRNet
from torch import Tensor, nn

from mmseg_dynopool.layers.image import DOES_NOT_LEARN, IMAGE, add_zero_gradient
from mmseg_dynopool.layers.pool import read_alphas, sizes_for_compiler
from mmseg_dynopool.ops import pooled_size
from mmseg_dynopool.ops.pooling import check_input

from .hr_module import DynOPoolHRModule, Pool, PooledFeatures, run_downsampling, unstride_
from .options import build_dynopools


@MODELS.register_module()
class DynOPoolHRNet(HRNet):
    """HRNet whose streams are reduced by DynOPool and stride-1 convolutions.

    Stream k is always reached from stream k - 1 through the same DynOPool instance, in the
    transition layers and in every step of every fuse chain. At the initial scale of 0.5 sizes,
    parameters (except the alphas) and multiply-adds are those of the stock network, and its
    checkpoints load: the only new keys are ``dynopools.*.alpha``.

    Args:
        *args: the arguments of mmseg's ``HRNet``.
        dynopool: options of the DynOPools:

            - ``type`` ('DynOPool'): or 'ShapeAdaptor', the baseline of the supplement's section
              2, with options of its own, see
              [`ShapeAdaptor`][mmseg_dynopool.layers.ShapeAdaptor], ``stem`` and ``image``, whose
              axes are tied then; ``ratios`` by instance, too;
            - ``scale`` (0.5): initial scale, a number, a pair (h, w), or a dict by instance,
              e.g. ``dict(stream1=(0.5, 0.4))``;
            - ``bounds`` ((0.125, 1.0)): lowest and highest scale, or a dict of them by instance; a
              plain pair is not the image's;
            - ``anchor`` ('local') and ``window`` (8): reference point of alpha's gradient, see
              [`dynopool2d`][mmseg_dynopool.ops.dynopool2d];
            - ``image`` (False): the image's own size is the first level, ``'image'``, of scale 1 at
              the start and bounds (0.25, 4); see
              [`ImageResize`][mmseg_dynopool.layers.ImageResize]. Not together with ``stem``;
            - ``multiple`` (4): pixels to whose multiples the resized image's sides are rounded;
            - ``stem`` (False): the stem's two strided convolutions, too, become DynOPools,
              ``stem1`` and ``stem2``;
            - ``learn`` (True): False makes the scales constants, as ``tools/freeze.py`` does;
              ``dict(image=False)`` those of some.
        **kwargs: further arguments of `HRNet`.

    Attributes:
        dynopools: ``ModuleDict`` of the poolings: ``image``, ``stem1``, ``stem2`` (if asked for),
            ``stream1``, ``stream2``, ...

    Raises:
        ValueError: an option is unknown or malformed.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.models import DynOPoolHRNet
        >>> extra = {f'stage{n}': dict(  # of a tiny HRNet
        ...     num_modules=1, num_branches=n, block='BASIC', num_blocks=(1, ) * n,
        ...     num_channels=(4, 8, 12, 16)[:n]) for n in (1, 2, 3, 4)}
        >>> net = DynOPoolHRNet(extra, dynopool=dict(scale=dict(stream1=(0.5, 0.25))))
        >>> [tuple(features.shape) for features in net(torch.rand(1, 3, 64, 64))]
        [(1, 4, 16, 16), (1, 8, 8, 4), (1, 12, 4, 2), (1, 16, 2, 1)]
    """

    def __init__(self, *args: Any, dynopool: dict | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        streams = max(self.extra[f'stage{i}']['num_branches'] for i in (2, 3, 4))
        self.dynopools = build_dynopools(dynopool, streams=streams)
        if 'stem1' in self.dynopools:
            unstride_(self.conv1)
            unstride_(self.conv2)
        self._freeze_stages()
        if self.frozen_stages >= 0 and IMAGE in self.dynopools and self.dynopools[IMAGE].learns:
            warnings.warn(f'DynOPoolHRNet: {DOES_NOT_LEARN}', stacklevel=2)

    def _make_transition_layer(self, *args: Any, **kwargs: Any) -> nn.ModuleList:
        return unstride_(super()._make_transition_layer(*args, **kwargs))

    def _make_stage(self, *args: Any, **kwargs: Any) -> tuple[nn.Sequential, list[int]]:
        stage, channels = super()._make_stage(*args, **kwargs)
        for i, module in enumerate(stage):
            stage[i] = DynOPoolHRModule(module)
        return stage, channels

    def _freeze_stages(self) -> None:
        """Freeze as the stock network does, and the DynOPools that frozen layers run through.

        Else a frozen stage's features would move with its resolution.
        """
        super()._freeze_stages()
        if not hasattr(self, 'dynopools'):  # called by the stock constructor
            return
        frozen = [IMAGE, 'stem1', 'stem2'] if self.frozen_stages >= 0 else []
        for stage in range(1, min(self.frozen_stages, 3) + 1):
            last = self.extra[f'stage{stage + 1}']['num_branches']
            frozen += [f'stream{k}' for k in range(1, last)]
        for name in frozen:
            if name in self.dynopools:
                self.dynopools[name].requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of every stream, ``(N, C_k, H_k, W_k)``, for an image batch ``(N, C, H, W)``.

        Raises:
            ValueError: ``x`` is not 4-D, has an empty side or holds integers, or an alpha is
                not finite.
        """
        check_input(x)
        pools = self._sized_pools(x.shape[-2:])
        if IMAGE in pools:
            x = pools[IMAGE](x)
        stem = [pools.get(name, nn.Identity()) for name in ('stem1', 'stem2')]
        x = self.relu(self.norm1(self.conv1(stem[0](x))))
        x = self.relu(self.norm2(self.conv2(stem[1](x))))
        x = self.layer1(x)
        streams = [pools[name] for name in pools if name.startswith('stream')]

        features = [x]
        for stage, transition in ((self.stage2, self.transition1),
                                  (self.stage3, self.transition2),
                                  (self.stage4, self.transition3)):
            features = _run_transition(transition, features, streams)
            for module in stage:
                features = module(features, streams)
        if IMAGE in self.dynopools:
            features = add_zero_gradient(features, self.dynopools[IMAGE])
        return features

    def feature_sizes(self, image_size: Sequence[int], alphas: dict | None = None
                      ) -> dict[str, tuple[int, int]]:
        """Size of each stream's features, and of the image and the stem if they learn.

        Args:
            image_size: ``(H, W)`` of the image in pixels.
            alphas: ``{instance: (alpha_h, alpha_w)}`` as Python numbers inside their bounds;
                default: the current ones, with one read from the device.

        Returns:
            ``{'image', 'stem1', 'stem2' (those that learn), 'stream0', 'stream1', ...: (h, w)}``.
        """
        pools: Any = self.dynopools
        # Read in every forward pass: moving averages swap parameters unseen by any cache.
        alphas = alphas or read_alphas(pools)
        height, width = image_size
        sizes = {}
        if IMAGE in alphas:
            height, width = sizes[IMAGE] = pools[IMAGE].size_at(image_size, alphas[IMAGE])
        for name in ('stem1', 'stem2'):
            if name in alphas:
                height, width = sizes[name] = pooled_size((height, width), alphas[name])
            else:
                height, width = (height + 1) // 2, (width + 1) // 2
        sizes['stream0'] = height, width
        for name in alphas:
            if name.startswith('stream'):
                height, width = sizes[name] = pooled_size((height, width), alphas[name])
        return sizes

    def _sized_pools(self, image_size: Sequence[int]) -> dict[str, Pool]:
        """Each DynOPool with the size of its output for this image."""
        if torch.compiler.is_compiling() and any(p.learns for p in self.dynopools.values()):
            shapes = sizes_for_compiler(self.feature_sizes, image_size)
            return {name: partial(_pool_like, self.dynopools[name], shapes[name])
                    for name in shapes if name != 'stream0'}
        sizes = self.feature_sizes(image_size)
        return {name: partial(self.dynopools[name], output_size=sizes[name])
                for name in sizes if name != 'stream0'}


def _pool_like(pool: nn.Module, shape: Tensor, x: Tensor) -> Tensor:
    return pool(x, tuple(shape.shape))  # here: read any earlier, they make a graph of their own


def _run_transition(transition: nn.ModuleList, features: list[Tensor], pools: Sequence[Pool]
                    ) -> list[Tensor]:
    """Adapt the channels of the streams there are and start the new ones from the last."""
    last = len(features) - 1
    pooled = None
    outputs = []
    for i, layer in enumerate(transition):
        if i <= last:
            outputs.append(features[i] if layer is None else layer(features[i]))
        else:
            pooled = pooled or PooledFeatures(pools[last], features[-1])
            outputs.append(run_downsampling(
                layer, pooled, pools[last + 1:i]))  # type: ignore[arg-type]
    return outputs
