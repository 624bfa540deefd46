"""What mkdocs does to a notebook's page: its links lead to pages, and nothing is loaded."""

import re


def on_page_content(html, page, **_):
    """Links to ``name.md`` become ``name.html``, which mkdocs-jupyter leaves; Mermaid goes."""
    if not page.file.src_uri.endswith('.ipynb'):
        return html
    html = re.sub(r'href="README\.md', 'href="index.html', html)
    html = re.sub(r'href="(?!https?:)([\w/]+)\.md', r'href="\1.html', html)
    return re.sub(r'<script(?:(?!</script>).)*mermaid(?:(?!</script>).)*</script>', '', html,
                  flags=re.S)
