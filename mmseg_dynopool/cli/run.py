"""Runs a command line of ``tools/`` so that a user's error is one line."""

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
        if debug or not _is_meant(error):
            raise
        print(f'{Path(sys.argv[0]).stem}: error: {error} (--debug shows where)', file=sys.stderr)
        raise SystemExit(2) from None


def _is_meant(error: BaseException | None) -> bool:
    """Whether it was raised by a statement of ours; mmengine's registry wraps such errors."""
    while isinstance(error, MEANT):
        frames = traceback.extract_tb(error.__traceback__)
        if not frames:
            return False
        file = Path(frames[-1].filename).resolve()
        if (frames[-1].line or '').startswith('raise') and (
                _OURS in file.parents or file == Path(sys.argv[0]).resolve()):
            return True
        wrapped = file.match('mmengine/registry/*.py')
        error = error.__context__ if wrapped else error.__cause__
    return False
