"""Slices of the MNI152 template, as a scanner of thick slices gives them, too."""

import cv2
import numpy as np
import pytest

from mmseg_dynopool.data.prepare_mni152 import prepare_mni152


def read(folder):
    return {p.stem: cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in folder.glob('*/*.png')}


def test_thick_slices(tmp_path):
    counts = {thick: prepare_mni152(tmp_path / str(thick), 'coronal', thick) for thick in (1, 5)}
    assert counts[1] == counts[5] == dict(train=120, val=36)
    thin, thick = (read(tmp_path / str(n) / 'images') for n in (1, 5))
    assert {image.shape for image in thin.values()} == {(152, 160)}
    assert {image.shape for image in thick.values()} == {(32, 160)}
    # 160 mm around the same centre: the thin ones lack 4 mm on both sides.
    means = thin['coronal_125'][1:-1].reshape(30, 5, 160).mean(1)
    assert abs(means - thick['coronal_125'][1:-1]).mean() < 6  # noise of 4 in both
    labels = read(tmp_path / '5' / 'labels')
    assert set(np.unique(np.stack(list(labels.values())))) == {0, 1, 2}
    numbers = {split: [int(p.stem[-3:]) for p in (tmp_path / '5' / 'images' / split).iterdir()]
               for split in ('train', 'val')}
    assert min(abs(a - b) for a in numbers['train'] for b in numbers['val']) > 2
    # Another call leaves nothing of an earlier one.
    assert prepare_mni152(tmp_path / '5', 'sagittal', 3) == dict(train=96, val=28)
    assert {image.shape for image in read(tmp_path / '5' / 'images').values()} == {(48, 192)}


@pytest.mark.parametrize('plane, thick', [('axial', 3), ('coronal', 9), ('coronal', 2.5)])
def test_thickness_that_is_refused(tmp_path, plane, thick):
    with pytest.raises(ValueError, match='thick must be 1 to 8 mm'):
        prepare_mni152(tmp_path, plane, thick)
    with pytest.raises(ValueError, match='plane must be one of'):
        prepare_mni152(tmp_path, 'oblique')
