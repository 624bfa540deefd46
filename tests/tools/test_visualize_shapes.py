"""tools/visualize.py shapes, from the command line, of the log of a real run."""

import cv2

from support.commands import tool
from support.runs import segmentor, train


def test_pictures_of_a_run(tmp_path):
    train(tmp_path / 'run', segmentor(gmacs_weight=3000.), 8, alpha_lr=0.02)
    printed = tool('visualize', 'shapes', 'run', '--out', 'pictures', cwd=tmp_path)
    for name in ('evolution', 'network'):
        assert f'pictures/{name}.png' in printed
        assert min(cv2.imread(str(tmp_path / 'pictures' / f'{name}.png')).shape[:2]) > 300
