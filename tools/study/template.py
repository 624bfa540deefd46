"""The pages' templates, in this folder."""

from pathlib import Path

import jinja2

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True,
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


def render(name: str, **values: object) -> str:
    """The page of a template ``NAME.md.jinja``."""
    return _ENVIRONMENT.get_template(f'{name}.md.jinja').render(**values)
