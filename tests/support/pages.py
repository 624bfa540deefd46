"""A parsed HTML page."""

from html.parser import HTMLParser

VOID = ('meta', 'img', 'br', 'rect')


class Page(HTMLParser):
    """Every tag with its attributes, the tables' cells, and the text by tag.

    Attributes:
        tags: ``[(tag, attributes), ...]`` in their order.
        tables: by label, rows of texts.
        texts: all text outside of ``<style>``.
        headings: ``[('h1', text), ...]``.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self.texts, self.headings = [], {}, [], []
        self._open, self._label = [], ''
        self.feed(text)
        assert not self._open, f'left open: {self._open}'

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self._open.append(tag)
        if attrs.get('role') == 'region':
            self._label = attrs['aria-label']
        if tag == 'table':
            self.tables[self._label] = []
        if tag == 'tr':
            self.tables[self._label].append([])
        if tag in ('th', 'td'):
            self.tables[self._label][-1].append('')
        if tag in ('h1', 'h2', 'h3'):
            self.headings.append((tag, ''))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if 'style' in self._open:
            return
        self.texts.append(data)
        if self._open and self._open[-1] in ('th', 'td'):
            self.tables[self._label][-1][-1] += data
        if self._open and self._open[-1] in ('h1', 'h2', 'h3'):
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)

    @property
    def text(self):
        return ''.join(self.texts)

    def all(self, tag):
        """The attributes of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]
