"""mmengine's file backend, with files that are there whole or not at all."""

from pathlib import Path

from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import register_backend

from mmseg_dynopool.files import write_file

BACKEND = 'mmseg_dynopool.whole_file'


class AtomicFileBackend(LocalBackend):
    """mmengine's local files, written by `write_file`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_file(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_file(filepath, obj.encode(encoding))


register_backend(BACKEND, AtomicFileBackend)
