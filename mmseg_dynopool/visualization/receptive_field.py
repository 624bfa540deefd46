"""To be written."""


def add_options(parser):
    """Add the command's options."""


def run(args):
    """Run the command."""
    raise SystemExit('not there yet')
