"""Where a network with learned sizes spends its multiply-adds, beside its stock counterpart."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.layers.find import all_pools, short_names

from .count import GMACsCounter
from .multiply_adds import probe_complexity


def summarize(model: nn.Module, shape: Sequence[int], in_channels: int = 3,
              forward: Callable | None = None, stock: nn.Module | None = None) -> dict:
    """Count a network at its learned sizes and at those of the stock network.

    Args:
        model: a network with DynOPools, at the scales to report.
        shape, in_channels, forward: see `probe_complexity`.
        stock: the stock network, whose modules have the same names. Default: the network itself
            at its ``stock_scale``s without the DynOPools' own cost, which is the same except with
            rule ``'after'``.

    Returns:
        ``shape``; ``params``; ``stock_params``, without those of the scales; ``gmacs`` (rounded
        sizes); ``stock_gmacs``; ``dynopool_percent`` of ``gmacs`` (the supplement's Table 3);
        ``by_module`` and, by the DynOPools above a layer, ``by_resolution``:
        ``{name: {'gmacs', 'stock_gmacs'}}``;
        ``instances``: ``{name: {'scale', 'input_size', 'output_size'}}``.

    Raises:
        ValueError: there is no DynOPool in ``model``.
    """
    layers = probe_complexity(model, shape, in_channels, forward).layers
    counter = GMACsCounter(model, shape, in_channels, forward)
    pools = all_pools(model)
    short = short_names(pools)
    instances = {name: dict(scale=pools[name].scale.tolist()) for name in short}

    def note(name: str, pool: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        instances[name] |= dict(input_size=list(args[0].shape[2:]),
                                output_size=list(output.shape[2:]))

    handles = [pool.register_forward_hook(partial(note, name))
               for name, pool in counter.pools.items()]
    calls = counter.calls()
    for handle, pool in zip(handles, counter.pools.values()):
        handle.remove()
        pool.set_scale_(pool.stock_scale)
    stock_macs: defaultdict[str, list[float]] = defaultdict(list)
    for call in (GMACsCounter(stock, shape, in_channels, forward) if stock else counter).calls():
        if call.op != 'dynopool':
            stock_macs[call.module].append(call.macs / 1e9)
    stock_gmacs = sum(map(sum, stock_macs.values()))
    by_module: dict[str, dict] = {}
    by_resolution: dict[str, dict] = {}
    for layer, call in zip(layers, calls, strict=True):
        above = ' x '.join(short[name] for name in layer.exponents) or 'input'
        stock_call = stock_macs[call.module].pop(0) if call.op != 'dynopool' else 0.0
        for table, key in ((by_module, '.'.join(call.module.split('.')[:2])),
                           (by_resolution, above)):
            row = table.setdefault(key, dict(gmacs=0.0, stock_gmacs=0.0))
            row['gmacs'] += call.macs / 1e9
            row['stock_gmacs'] += stock_call
    total = sum(call.macs for call in calls)
    pooling = sum(call.macs for call in calls if call.op == 'dynopool')
    params = sum(p.numel() for p in model.parameters())
    return dict(
        shape=list(shape), params=params,
        stock_params=params - sum(p.parameter.numel() for p in learned_pools(model).values()),
        gmacs=total / 1e9, stock_gmacs=stock_gmacs, dynopool_percent=100 * pooling / total,
        by_module=by_module, by_resolution=by_resolution,
        instances={short[name]: instance for name, instance in instances.items()})
