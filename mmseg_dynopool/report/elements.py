"""The report's small parts: numbers, tables, images, bars, as HTML."""

import base64
import math
from html import escape


def number(value: float | None, form: str = '.2f') -> str:
    """``12.34``, or ``-`` for what is not known."""
    return '-' if value is None or math.isnan(value) else format(value, form)


def table(head: list[str], rows: list[list[str]], foot: list[str] | None = None,
          texts: int = 1, kind: str = '', caption: str = '') -> str:
    """A table of HTML cells; all columns but the first ``texts`` hold numbers."""

    def line(cells, first):
        done = []
        for i, cell in enumerate(cells):
            tag = 'th' if first == 'col' or i == 0 else 'td'
            scope = f' scope="{"row" if first == "row" else "col"}"' if tag == 'th' else ''
            kinds = ' class="number"' if i >= texts else ''
            done.append(f'<{tag}{scope}{kinds}>{cell}</{tag}>')
        return ''.join(done)

    body = ''.join(f'<tr>{line(row, "row")}</tr>' for row in rows)
    end = f'<tfoot><tr>{line(foot, "row")}</tr></tfoot>' if foot else ''
    return (f'<div class="table {kind}" role="region" aria-label="{escape(caption)}" '
            f'tabindex="0"><table><thead><tr>{line(head, "col")}</tr></thead>'
            f'<tbody>{body}</tbody>{end}</table></div>')


def image(content: bytes, alt: str) -> str:
    """A PNG file, inside the page."""
    data = base64.b64encode(content).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'


def bar(percent: float, kind: str = '') -> str:
    """A bar below a number, none for NaN."""
    if math.isnan(percent):
        return ''
    width = f'{0.06 * percent:.2f}rem'
    return f'<span class="bar {kind}" style="width:{width}" aria-hidden="true"></span>'


def swatch(color) -> str:
    """A class's color ``(r, g, b)``."""
    return ('<span class="swatch" style="background:rgb({},{},{})" aria-hidden="true"></span>'
            .format(*map(int, color)))
