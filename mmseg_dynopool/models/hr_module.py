"""HRNet's parallel streams and their fusion, with learned resolutions."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from mmengine.model import BaseModule
from mmseg.models.backbones.hrnet import HRModule
from mmseg.models.utils import Upsample, resize
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mmseg_dynopool.layers import DynOPool, FixedDynOPool
from mmseg_dynopool.ops import dynopool2d

# The shared DynOPool that reduces stream k to stream k + 1, with its size in this forward pass.
Pool = Callable[[Tensor], Tensor]

_Module = TypeVar('_Module', bound=nn.Module)


def unstride_(module: _Module) -> _Module:
    """Give every strided convolution in ``module`` the stride 1, in place."""
    for layer in module.modules():
        if isinstance(getattr(layer, 'stride', None), tuple):
            layer.stride = (1, 1)  # type: ignore[assignment]
    return module


class PooledFeatures:
    """A stream's features, reduced, for the convolutions that read them.

    A convolution would keep its input for the backward pass. Instead a DynOPool, whose values
    depend on the sizes alone, pools it again there, once for all of them: that is cheap, and the
    features are kept anyway, by the pooling or by the ReLU that made them.
    """

    def __init__(self, pool: Pool, features: Tensor):
        self.output = pool(features)
        self._hooks = None
        if getattr(type(getattr(pool, 'func', None)), 'forward', None) in (
                DynOPool.forward, FixedDynOPool.forward) and (
                torch.is_grad_enabled() and not torch.compiler.is_compiling()
                and not torch.jit.is_tracing()):
            self._hooks = _Again(features, self.output)

    def convolve(self, step: nn.Sequential) -> Tensor:
        """Run a convolution with its norm and activation on the reduced features."""
        if self._hooks is None:
            return step(self.output)
        with saved_tensors_hooks(self._hooks.forget, self._hooks.recall):
            output = step[0](self.output)
        for layer in list(step)[1:]:
            output = layer(output)
        return output


class _Again:
    """Hooks of saved tensors that pool again; they live as long as the graph."""

    def __init__(self, features: Tensor, output: Tensor):
        self.features, self.version = features, features._version
        self.address, self.shape = output.data_ptr(), output.shape  # not the output itself
        self.uses = self.recalled = 0
        self.again: Tensor | None = None

    def forget(self, kept: Tensor) -> Tensor | None:
        if kept.data_ptr() != self.address or kept.shape != self.shape:
            return kept
        self.uses += 1
        return None

    @torch.no_grad()
    def recall(self, kept: Tensor | None) -> Tensor:
        if kept is not None:
            return kept
        if self.features._version != self.version:
            raise RuntimeError('features were changed in place after they were pooled; their '
                               'gradient cannot be computed')
        if self.again is None:
            self.again = dynopool2d(self.features, (1.0, 1.0), self.shape[-2:])
        again = self.again
        self.recalled += 1
        if self.recalled % self.uses == 0:  # the last convolution of this backward pass
            self.again = None
        return again


def run_downsampling(steps: Sequence[nn.Sequential], pooled: PooledFeatures, pools: Sequence[Pool]
                     ) -> Tensor:
    """Run a chain of unstrided convolutions with a DynOPool before each.

    Args:
        steps: the convolutions, each with its norm and activation.
        pooled: input of the first (chains from one stream share it).
        pools: the DynOPool before each further step.
    """
    output = pooled.convolve(steps[0])
    for step, pool in zip(steps[1:], pools, strict=True):
        output = PooledFeatures(pool, output).convolve(step)
    return output


class DynOPoolHRModule(BaseModule):
    """A stock `HRModule` whose fuse chains are reduced by the streams' DynOPools.

    It takes over the layers of ``stock``: strided convolutions get the stride 1, and the fixed
    ``Upsample`` factors go, since each stream is resized to the real size of its target.
    """

    def __init__(self, stock: HRModule):
        super().__init__(stock.init_cfg)
        self.num_branches = stock.num_branches
        self.branches = stock.branches
        self.fuse_layers = stock.fuse_layers
        self.relu = stock.relu
        if self.fuse_layers is not None:
            unstride_(self.fuse_layers)
            for row in self.fuse_layers:
                for layer in row:
                    if layer is not None and isinstance(layer[-1], Upsample):
                        layer[-1] = nn.Identity()

    def forward(self, inputs: Sequence[Tensor], pools: Sequence[Pool]) -> list[Tensor]:
        """Run every stream's blocks, then fuse the streams.

        Args:
            inputs: stream k's features, ``(N, C_k, H_k, W_k)``.
            pools: ``pools[k]`` reduces stream k to the size of stream k + 1.

        Returns:
            The fused features of each stream, or of the first alone, in the sizes of ``inputs``.
        """
        features = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        if self.fuse_layers is None:
            return features
        # Stream j is reduced once, for all streams below it.
        pooled = [PooledFeatures(pools[j], features[j]) for j in range(len(self.fuse_layers) - 1)]
        fused = []
        for i, row in enumerate(self.fuse_layers):
            total = features[i]
            for j, layer in enumerate(row):
                if j < i:
                    total = total + run_downsampling(layer, pooled[j], pools[j + 1:i])
                elif j > i:
                    total = total + resize(layer(features[j]), size=features[i].shape[2:],
                                           mode='bilinear', align_corners=False)
            fused.append(self.relu(total))
        return fused
