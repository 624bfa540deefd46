"""Make a segmentation data set of the MNI152 template that nilearn ships inside its wheel."""

import importlib.resources
from pathlib import Path

import numpy as np

from mmseg_dynopool.files import make_folder, write_image

_FILE = 'mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz'
# Axial slices through the brain, and the box around it, in voxels of 1 mm.
_SLICES = range(14, 150)
_BOX = (slice(18, 178), slice(20, 212))
# Blocks of 12 slices, 2 unused slices between blocks: no validation slice touches a training one.
_BLOCK, _GAP, _EVERY = 12, 2, 4


def prepare_mni152(out_dir: str | Path) -> dict[str, int]:
    """Write PNG files to ``images/{train,val}`` and ``labels/{train,val}`` in ``out_dir``.

    Labels: 0 background, 1 grey matter, 2 white matter (the tissue whose probability is above
    one half). Every fourth block of slices is for validation. Returned: slices by split.

    Raises:
        ModuleNotFoundError: nilearn is not installed.
        ValueError: ``out_dir`` is or lies in a file.
    """
    make_folder(out_dir)
    image, grey, white = (_load(kind) for kind in ('t1', 'gm', 'wm'))
    label = np.where(grey > 127.5, 1, np.where(white > 127.5, 2, 0)).astype(np.uint8)
    counts = {'train': 0, 'val': 0}
    for z in _SLICES:
        block, offset = divmod(z - _SLICES.start, _BLOCK + _GAP)
        if offset >= _BLOCK:
            continue
        split = 'val' if block % _EVERY == _EVERY // 2 else 'train'
        counts[split] += 1
        for folder, volume in (('images', image), ('labels', label)):
            # Rows run from the front of the head to its back.
            slice_ = np.ascontiguousarray(volume[_BOX[0], _BOX[1], z].T[::-1])
            write_image(Path(out_dir, folder, split, f'axial_{z:03d}.png'),
                        slice_.round().astype(np.uint8))
    return counts


def _load(kind: str) -> np.ndarray:
    try:
        import nibabel
        folder = importlib.resources.files('nilearn') / 'datasets' / 'data'
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is missing: the MNI152 template comes with nilearn; install it with "
            "pip install 'mmseg_dynopool[demo]'") from error
    return nibabel.Nifti1Image.from_filename(str(folder / _FILE.format(kind))).get_fdata(
        dtype=np.float32)
