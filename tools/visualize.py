"""Pictures of what a network learned: shapes, aggregation, receptive-field.

Each command has its own options: tools/visualize.py COMMAND --help.
"""

import argparse
from importlib import import_module

from mmseg_dynopool.cli.run import run_tool

COMMANDS = ('shapes', 'aggregation', 'receptive_field')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in COMMANDS:
        module = import_module(f'mmseg_dynopool.report.{name}')
        command = commands.add_parser(name.replace('_', '-'), help=module.__doc__.splitlines()[0])
        module.add_options(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args()
    args.run(args)


if __name__ == '__main__':
    run_tool(main)
