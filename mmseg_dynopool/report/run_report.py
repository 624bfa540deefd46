"""One self-contained HTML page about a training: what it learned and what that costs."""

from collections.abc import Sequence
from pathlib import Path

from mmseg_dynopool.analysis.work_dir import read_run
from mmseg_dynopool.cli.options import check_device
from mmseg_dynopool.files import check_folder, write_file

from .collect import collect
from .curves import STYLES
from .page import make_page


def run_report(work_dir: str | Path, baseline: str | Path | Sequence[str | Path] | None = None,
               out: str | Path | None = None, images: int = 3, repeats: int = 20,
               device: str = 'cpu', shape: Sequence[int] | None = None,
               options: dict | None = None) -> Path:
    """Write the report of a training.

    The last checkpoint is evaluated anew on the validation images, and timed beside the stock
    network on this machine. Nothing is written but ``out``.

    Args:
        work_dir: folder of the training, finished or not.
        baseline: folder of another training to compare with, e.g. of the stock network; or several.
        out: the HTML file; default ``WORK_DIR/report.html``. Its path is returned.
        images: how many of the best validation images to show, and how many of the worst.
        repeats: timed passes of each network.
        device: where to evaluate and to measure.
        shape: ``(H, W)`` at which cost and sizes count; default the training crop.
        options: settings of the configs to override, e.g. where the data are now.

    Raises:
        ValueError: the data are not there; or see `read_run`.
    """
    for name, value in (('images', images), ('repeats', repeats)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f'{name} must be a whole number >= 1, got {value!r}')
    out = Path(work_dir, 'report.html') if out is None else Path(out)
    if out.is_dir():
        raise ValueError(f'{str(out)!r} is a folder; give the file to write, e.g. '
                         f'{str(out / "report.html")!r}')
    check_device(device)
    run = read_run(work_dir, options)
    folders = [baseline] if isinstance(baseline, str | Path) else baseline or []
    if len(folders) >= len(STYLES):
        raise ValueError(f'a report shows at most {len(STYLES) - 1} baselines, got {len(folders)}')
    others = [read_run(folder, options) for folder in folders]
    check_folder(out.parent)
    write_file(out, make_page(collect(run, others, shape, images, repeats, device)).encode())
    return out
