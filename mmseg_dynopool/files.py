"""Write files atomically: a whole file or none."""

import os
from pathlib import Path
from tempfile import TemporaryFile

import cv2
import numpy as np


def check_folder(path: str | Path) -> Path:
    """Check that a folder can be written to, or made if it is missing, without making it."""
    path = Path(path)
    there = next(part for part in (path, *path.parents, Path()) if os.path.lexists(part))
    if not there.is_dir():
        raise ValueError(f'cannot write to the folder {str(path)!r}: {str(there)!r} is a file; '
                         'choose another folder')
    try:
        with TemporaryFile(dir=there):  # root has all permissions, and yet cannot always write
            pass
    except OSError as error:
        raise OSError(f'cannot write to the folder {str(there)!r}: {error.strerror}; choose '
                      'another folder') from error
    return path


def check_png(path: str | Path) -> None:
    """Raise an error if no PNG file of this name can be written, before it is computed."""
    path = Path(path)
    if path.suffix.lower() != '.png' or path.is_dir():
        raise ValueError(f'--out must name a .png file, got {str(path)!r}')
    check_folder(path.parent)


def make_folder(path: str | Path) -> Path:
    """Make a folder and its parents if they are missing; see `check_folder`."""
    path = check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f'cannot make the folder {str(path)!r}: {error.strerror}; choose another '
                      'folder') from error
    return path


def write_file(path: str | Path, content: bytes) -> None:
    """Write a file atomically, through a hidden one in its folder; a kill leaves ``path`` whole."""
    path = Path(path)
    part = make_folder(path.parent) / f'.{path.name}.part'
    try:
        try:
            with part.open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # on the disk before it gets its name
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f'cannot write {path}: {error.strerror}; free space there, or choose '
                      'another folder') from error


def replace_file(new: str | Path, path: str | Path) -> None:
    """Rename a complete file in the same folder to ``path``, atomically."""
    try:
        os.replace(new, path)
    except OSError as error:
        raise OSError(f'cannot write {path}: {error.strerror}; choose another name or '
                      'folder') from error


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write ``(H, W)``, or ``(H, W, 3)`` in BGR, 8 or 16 bits, as PNG; see `write_file`."""
    write_file(path, cv2.imencode('.png', image)[1].tobytes())
