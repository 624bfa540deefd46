"""Run a tool of the package by its name: ``python -m mmseg_dynopool train CONFIG``."""

import runpy
import sys

from mmseg_dynopool import __version__
from mmseg_dynopool.installed import installed_folder, nearest
from mmseg_dynopool.stack import require_stack


def main() -> None:
    folder = installed_folder('tools')
    tools = {path.stem: path for pattern in ('*.py', 'dataset_converters/*.py')
             for path in sorted(folder.glob(pattern))}
    listed = 'usage: python -m mmseg_dynopool TOOL ...; the tools: ' + ', '.join(tools)
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in ('-h', '--help'):
        print(listed + '. TOOL --help tells more; with --debug, any of them shows where an error '
              'comes from')
        return
    if name == '--version':
        print(__version__)
        return
    if name not in tools:
        raise SystemExit(f'there is no tool {name!r}; nearest to it: {nearest(name, tools)}'
                         f'\n{listed}')
    try:
        require_stack(f'the tool {name}')
    except ImportError as error:
        raise SystemExit(error) from None
    # As if the file had been called: its own name and folder come first.
    sys.argv = [str(tools[name]), *sys.argv[2:]]
    sys.path.insert(0, str(tools[name].parent))
    runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    main()
