"""Write docs/table3.md: DynOPool's share of the multiply-adds, beside the supplement's Table 3.

Needs the extra classification. Counts the networks of configs/classification.
"""

import argparse
from pathlib import Path

from mmengine.config import Config

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.config import counted_shape
from mmseg_dynopool.costs import GMACsCounter
from mmseg_dynopool.layers.find import input_channels
from mmseg_dynopool.models.whole_network import forward_without_postprocessing

from .template import render

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = dict(vgg16='VGG-16', resnet50='ResNet-50', mobilenet_v2='MobileNetV2')
DATA = dict(aircraft='FGVC-Aircraft', cifar100='CIFAR-100', imagenet='ImageNet')
# Percent of the whole network's multiply-adds (supplement, Table 3).
PRINTED = dict(vgg16=(0.07, 0.07, 0.07), resnet50=(0.26, 0.13, 0.26),
               mobilenet_v2=(3.88, 1.00, 3.86))
PER_VALUE = 16  # multiply-adds of our DynOPool per output value
ROUNDING = 0.005


def count(network: str, data: str, **backbone) -> dict[str, float]:
    """Multiply-adds in 1e9 by level, and of all other layers as ``'rest'``.

    At the stock scales: the supplement does not tell at which it counted. ``backbone`` overrides
    options of the config's; ``skip`` is the conversion's.
    """
    config = Config.fromfile(ROOT / f'configs/classification/{network}_dynopool_s_{data}.py')
    config.model.dynopool = dict(rule='after', skip=backbone.pop('skip', ()))
    config.model.backbone.update(backbone)
    model = load_network(config, None)
    counter = GMACsCounter(model, counted_shape(config), input_channels(model),
                           forward_without_postprocessing)
    counted = {'rest': 0.}
    for call in counter.calls():
        level = call.module.rpartition('.')[2] if call.op == 'dynopool' else 'rest'
        counted[level] = counted.get(level, 0.) + call.macs / 1e9
    return counted


def percent(counted: dict[str, float], levels: list[str] | None = None) -> float:
    """The DynOPools' share of the whole; ``levels``: of these alone."""
    return 100 * sum(macs for level, macs in counted.items() if level != 'rest' and (
        levels is None or level in levels)) / sum(counted.values())


def implied(counted: dict[str, float], printed: float) -> list[float]:
    """Multiply-adds per output value that give the printed share, least and most by rounding."""
    values = sum(macs for level, macs in counted.items() if level != 'rest') / PER_VALUE
    shares = [(printed + sign * ROUNDING) / 100 for sign in (-1, 1)]
    return [share / (1 - share) * counted['rest'] / values for share in shares]


def write_page():
    """Count all networks and write the page."""
    rows = []
    for network, title in NETWORKS.items():
        for (data, data_title), printed in zip(DATA.items(), PRINTED[network]):
            counted = count(network, data)
            rows.append(dict(network=title, data=data_title, gmacs=sum(counted.values()),
                             percent=percent(counted), printed=printed,
                             implied=implied(counted, printed)))
    later = count('vgg16', 'imagenet', with_last_pool=True, skip=['features.2'])
    residual = count('resnet50', 'cifar100')
    text = render(
        'table3', rows=rows, per_value=PER_VALUE, vgg_later=percent(later),
        vgg_later_implied=implied(later, 0.07), vgg_levels=list(later)[1:],
        resnet_first=percent(residual, ['stride2']))
    (ROOT / 'docs' / 'table3.md').write_text(text)


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_page()


if __name__ == '__main__':
    main()
