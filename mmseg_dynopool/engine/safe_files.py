"""Files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path

from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import register_backend

BACKEND = 'mmseg_dynopool.whole_file'


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file under another name, flush it to the disk, then give it its name.

    A process that is killed, or a disk that is full, leaves what was at ``path`` before.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(error.errno, f'{path} cannot be written ({error.strerror}); what was there '
                      'before is untouched. Free space, or name another folder') from error
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class WholeFileBackend(LocalBackend):
    """mmengine's local files, written by :func:`write_whole`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_whole(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_whole(filepath, obj.encode(encoding))


register_backend(BACKEND, WholeFileBackend)
