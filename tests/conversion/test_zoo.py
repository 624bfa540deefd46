"""docs/networks.md says what conversion makes of every backbone of mmseg and mmcv."""

import re

import pytest
from mmseg.models import backbones

from mmseg_dynopool.conversion import plan_conversion
from support import zoo
from support.toys import ROOT

pytestmark = pytest.mark.slow  # most of it builds networks
PAGE = (ROOT / 'docs' / 'networks.md').read_text()
NETWORKS = {'Backbones of mmseg': zoo.MMSEG, 'Networks of mmcv': zoo.MMCV}


def section(title):
    return re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', PAGE, re.M | re.S)[1]


def rows(title):
    """The cells of each row of a section's tables, ``{network: [row, ...]}``."""
    found = {}
    for line in section(title).splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| ') and cells[0] != 'network':
            found.setdefault(cells[0], []).append(cells[1:])
    return found


def promises():
    """``(title, network, levels or None, {rule: module} where it is refused)``."""
    for title in NETWORKS:
        for network, cells in rows(title).items():
            converted = [row for row in cells if len(row) == 7]
            refused = {row[0]: row[1] for row in cells if len(row) == 3}
            # Of another width, it takes as long and tells no more.
            if refused or network != 'HRNet-W48':
                yield title, network, converted[0][0].split() if converted else None, refused


@pytest.mark.parametrize('title, network, levels, refused', promises())
def test_what_the_table_says(title, network, levels, refused):
    if network not in NETWORKS[title]:
        pytest.skip('make test-networks has an environment with its library')
    stock = NETWORKS[title][network]()
    for rule, module in refused.items():
        plan = plan_conversion(stock, rule)
        assert [refusal.module for refusal in plan.refusals[:1]] == [module]
    if refused:  # the image's size can learn all the same, unless it takes images of one alone
        plan = plan_conversion(stock, levels='image')
        assert bool(plan.refusals) == (network in ('BEiT', 'MAE'))
    if 'before' not in refused:  # by the other rule it takes as long and tells no more
        plan = plan_conversion(stock, 'before')
        assert plan.refusals == [] and list(plan.scales) == levels


@pytest.mark.parametrize('title', NETWORKS)
def test_each_network_is_in_the_table(title):
    assert set(rows(title)) >= set(NETWORKS[title])


def test_every_backbone_of_mmseg_is_there():
    assert set(backbones.__all__) == {build.kind for build in zoo.MMSEG.values()} | set(
        zoo.NEEDS)
    assert all(f'{name} {reason}' in PAGE for name, reason in zoo.NEEDS.items()
               if name != 'TIMMBackbone')  # which the table's environment has
