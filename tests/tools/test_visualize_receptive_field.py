"""tools/visualize.py receptive-field, end to end."""

from argparse import ArgumentParser

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.report.receptive_field import add_options, run
from support.commands import tool
from support.toys import ROOT

DEMO = ROOT / 'configs' / 'demo_dynopool_mni152.py'


def save(config, path, alpha=None):
    model = MODELS.build(Config.fromfile(config).model)
    if alpha is not None:
        with torch.no_grad():
            model.backbone.dynopools['stream1'].alpha.copy_(torch.tensor(alpha))
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)


def test_picture_and_table(tmp_path):
    save(DEMO, tmp_path / 'learned.pth', alpha=[4.0, 2.0])
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    printed = tool('visualize', 'receptive-field', DEMO, 'learned.pth', 'image.png', '--out',
                   'made/fields.png', cwd=tmp_path)
    assert cv2.imread(str(tmp_path / 'made' / 'fields.png')).shape[1] > 1000
    rows = [line.split('│') for line in printed.splitlines() if 'stream 1' in line]
    learned, stock = ([cell.strip() for cell in row] for row in rows)
    assert learned[2:4] == ['learned', '6 x 16'] and stock[2:4] == ['stock scales', '12 x 16']
    extents = [[int(side) for side in row[4].split(' x ')] for row in (learned, stock)]
    assert extents[0][0] > 1.3 * extents[1][0] and extents[0][1] == extents[1][1]


def test_what_cannot_be_shown_is_named(tmp_path):
    (tmp_path / 'no_image.png').write_text('words')
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((96, 128, 3), np.uint8))
    stock = ROOT / 'configs' / 'demo_fixed_mni152.py'
    save(stock, tmp_path / 'stock.pth')
    parser = ArgumentParser()
    add_options(parser)
    for config, image, words in ((stock, 'image.png', 'HRNet holds no DynOPool'),
                                 (DEMO, 'no_image.png', 'cannot be read as an image'),
                                 (DEMO, 'image.png', 'stock.pth holds no learned scale'),
                                 (DEMO, 'lost.png', 'cannot be opened')):
        with pytest.raises(ValueError, match=words):
            run(parser.parse_args([str(config), str(tmp_path / 'stock.pth'),
                                   str(tmp_path / image), '--out', str(tmp_path / 'out.png')]))
    assert not (tmp_path / 'out.png').exists()
