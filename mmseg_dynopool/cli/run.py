"""Runs a command line of ``tools/`` so that an error of its user's is one line."""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

MEANT = (ValueError, OSError, ImportError, FloatingPointError, RuntimeError)
_OURS = Path(__file__).resolve().parents[1]


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main``; an error that our code raises on purpose is its message, and exit code 2.

    With ``--debug`` on the command line the traceback is shown, as it always is for other errors.
    """
    debug = '--debug' in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != '--debug']
    try:
        main()
    except MEANT as error:
        if debug or not _is_ours(error):
            raise
        print(f'{Path(sys.argv[0]).stem}: error: {error} (--debug shows where)', file=sys.stderr)
        raise SystemExit(2) from None


def _is_ours(error: BaseException | None) -> bool:
    """Whether it, or what it arose from, as mmengine wraps errors, was raised in this package."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, MEANT) and frames and _OURS in Path(frames[-1].filename).parents:
            return True
        error = error.__cause__ or error.__context__
    return False
