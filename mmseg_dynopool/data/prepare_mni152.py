"""Make a segmentation data set of the MNI152 template that nilearn ships inside its wheel."""

import importlib.resources
from pathlib import Path

import numpy as np

from mmseg_dynopool.files import make_folder, write_image

_FILE = 'mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz'
# Slices through the brain, in voxels of 1 mm, and the box around it: x from left to right, y from
# back to front. Of z there is a centre, around which whole thick slices are cut.
_SLICES = dict(axial=range(14, 150), coronal=range(24, 206), sagittal=range(26, 170))
_BOX = (slice(18, 178), slice(20, 212))
_CENTRE_Z, _HEIGHT_Z = 82, 150
_NOISE = 4.0  # of a pixel, of 255
# Blocks of 12 slices, 2 unused slices between blocks: no validation slice touches a training one.
_BLOCK, _GAP, _EVERY = 12, 2, 4
PLANES = tuple(_SLICES)


def prepare_mni152(out_dir: str | Path, plane: str = 'axial', thick: int | None = None
                   ) -> dict[str, int]:
    """Write PNG files to ``images/{train,val}`` and ``labels/{train,val}`` in ``out_dir``.

    Labels: 0 background, 1 grey matter, 2 white matter. Every fourth block of slices is for
    validation. Slices of an earlier call are removed.

    Args:
        out_dir: folder of the new data set.
        plane: of the images: ``'axial'``, 192 x 160 pixels of 1 mm, or ``'coronal'`` or
            ``'sagittal'``, as a scanner of axial slices gives them: a row is a slice.
        thick: mm of such a slice, 1 to 8, default 1: image and tissue are averaged over it, and
            each pixel has noise. There are a multiple of 8 rows and 160 (coronal) or 192 columns.

    Returns:
        Images by split.
    """
    if plane not in _SLICES:
        raise ValueError(f'plane must be one of {list(_SLICES)}, got {plane!r}')
    if thick is not None and (plane == 'axial' or type(thick) is not int or not 1 <= thick <= 8):
        raise ValueError('thick must be 1 to 8 mm, whole, of the planes coronal and sagittal: '
                         f'axial slices show nothing of it; got {thick!r} with {plane!r}')
    make_folder(out_dir)
    image, grey, white = (_load(kind) for kind in ('t1', 'gm', 'wm'))
    if plane == 'axial':
        label = np.where(grey > 127.5, 1, np.where(white > 127.5, 2, 0))
    else:
        image, grey, white = (_thick_slices(v, thick or 1) for v in (image, grey, white))
        image = image + np.random.default_rng(0).normal(0, _NOISE, image.shape)
        label = np.where(grey + white > 127.5, np.where(grey > white, 1, 2), 0)
    counts = {'train': 0, 'val': 0}
    for folder in ('images', 'labels'):
        for old in Path(out_dir, folder).glob('*/*_[0-9][0-9][0-9].png'):
            old.unlink()
    for number in _SLICES[plane]:
        block, offset = divmod(number - _SLICES[plane].start, _BLOCK + _GAP)
        if offset >= _BLOCK:
            continue
        split = 'val' if block % _EVERY == _EVERY // 2 else 'train'
        counts[split] += 1
        for folder, volume in (('images', image), ('labels', label)):
            write_image(Path(out_dir, folder, split, f'{plane}_{number:03d}.png'),
                        _slice(volume, plane, number))
    return counts


def _thick_slices(volume: np.ndarray, thick: int) -> np.ndarray:
    """The means over ``thick`` mm along z, around the centre."""
    rows = 8 * max(1, round(_HEIGHT_Z / (8 * thick)))
    start = _CENTRE_Z - rows * thick // 2
    cut = volume[:, :, start:start + rows * thick]
    return cut.reshape(*cut.shape[:2], rows, thick).mean(3)


def _slice(volume: np.ndarray, plane: str, number: int) -> np.ndarray:
    """An image of 8 bits; of axial ones the front of the head is on top, else the crown."""
    x, y = _BOX
    cut = dict(axial=(x, y, number), coronal=(x, number), sagittal=(number, y))[plane]
    flat = volume[cut].T[::-1].round().clip(0, 255)
    return np.ascontiguousarray(flat.astype(np.uint8))


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
