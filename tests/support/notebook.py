"""The notebook of docs/: executed as a reader would, and written with its outputs.

``PYTHONPATH=tests python -m support.notebook`` executes it and writes it anew.
"""

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from support.toys import ROOT

NOTEBOOK = ROOT / 'docs' / 'first_steps.ipynb'
_STAMP = 'sources_sha256'


def execute(notebook: NotebookNode, folder: Path, timeout: int = 300) -> NotebookNode:
    """Run a notebook from top to bottom in a kernel of its own, which starts in ``folder``.

    The kernel imports the package of this repository, writes no settings at home, and has one
    thread, so that numbers do not depend on the machine's cores.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
        nbclient.exceptions.CellTimeoutError: a cell took more than ``timeout`` seconds.
    """
    with TemporaryDirectory() as settings:
        environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1',
                           IPYTHONDIR=settings, MPLCONFIGDIR=settings)
        client = NotebookClient(notebook, timeout=timeout, allow_errors=False,
                                coalesce_streams=True, record_timing=False, kernel_name='python3',
                                resources=dict(metadata=dict(path=str(folder))))
        return client.execute(env=environment)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that a kernel runs."""
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def printed(cell: NotebookNode) -> str:
    """What a cell printed."""
    return ''.join(output.text for output in cell.outputs if output.output_type == 'stream')


def digest(notebook: NotebookNode) -> str:
    """Of the sources of all code cells."""
    sources = '\0'.join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(sources.encode()).hexdigest()


def recorded_digest(notebook: NotebookNode) -> str | None:
    """Of the sources that gave the outputs, as `write` noted it."""
    return notebook.metadata.get(_STAMP)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write an executed notebook without what differs from machine to machine."""
    notebook.metadata = nbformat.from_dict({
        'kernelspec': dict(name='python3', display_name='Python 3', language='python'),
        'language_info': dict(name='python'), _STAMP: digest(notebook)})
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def main() -> None:
    with TemporaryDirectory() as folder:
        write(execute(nbformat.read(NOTEBOOK, 4), Path(folder)), NOTEBOOK)


if __name__ == '__main__':
    main()
