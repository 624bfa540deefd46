"""tools/report.py, and its page in a real browser."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

from support.commands import tool

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))),
                None)
# What the page is asked. Its own policy forbids scripts, so a copy is asked that allows this one.
QUESTION = """<script>
const refused = [];
addEventListener('securitypolicyviolation', event => refused.push(event.blockedURI));
addEventListener('load', () => setTimeout(() => {
  const images = [...document.images];
  parent.postMessage(JSON.stringify({
    inner: innerWidth, scroll: document.documentElement.scrollWidth, refused,
    images: images.length, broken: images.filter(image => !image.naturalWidth).length,
    beyond: [...document.querySelectorAll('h1, h2, p, figure, .table, details')].filter(
      part => part.getBoundingClientRect().right > innerWidth).length,
    fetched: performance.getEntriesByType('resource').map(entry => entry.name).filter(
      name => !name.startsWith('data:'))}), '*');
}, 100));</script></head>"""
# A window cannot be as narrow as a phone; a frame can.
FRAME = """<!DOCTYPE html><html><head><title></title><script>
addEventListener('message', event => { document.title = event.data; });
</script></head><body><iframe src="copy.html" style="width:{width}px;height:800px;border:0">
</iframe></body></html>"""


@pytest.fixture(scope='module')
def page(trained, tmp_path_factory):
    """The page by the command line."""
    out = tmp_path_factory.mktemp('out') / 'sub' / 'page.html'
    printed = tool('report', 'learned', '--baseline', 'stock', '--out', out, '--images', 1,
                       '--repeats', 2, '--shape', 64, 96, '--device', 'cpu', cwd=trained[0])
    assert f'report: {out}' in printed
    return out


def test_the_command_line_s_options(page):
    text = page.read_text()
    assert 'One image of 64 x 96' in text and '2 passes' in text
    assert text.count('class="sample"') == 2
    assert [path.name for path in page.parent.iterdir()] == ['page.html']


def test_a_resumed_run_is_one_curve(page, trained):
    assert len([*trained[0].glob('learned/*/vis_data/scalars.json')]) == 2
    alt = re.search(r'alt="(Task loss [^"]*)"', page.read_text())[1]
    assert re.search(r'this run from \S+ to \S+ at iteration 20; baseline from', alt)
    first = [json.loads(line) for line in
             sorted(trained[0].glob('learned/*/vis_data/scalars.json'))[0].read_text().splitlines()]
    assert f'this run from {first[0]["decode.loss_ce"]:.4g} to' in alt


def ask(text, folder, width):
    """What a browser says of a page in a frame of that width in pixels."""
    policy = re.search(r"content=\"default-src 'none'; ([^\"]*)\"", text)[1]
    copy = text.replace('</head>', QUESTION, 1).replace(policy, f"script-src 'unsafe-inline'; "
                                                                f'{policy}', 1)
    (folder / 'copy.html').write_text(copy)
    (folder / 'frame.html').write_text(FRAME.replace('{width}', str(width)))
    done = subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND', '--window-size=1500,900',
         f'--user-data-dir={folder / "profile"}', '--virtual-time-budget=10000', '--dump-dom',
         (folder / 'frame.html').as_uri()],
        capture_output=True, text=True, timeout=120, env=dict(os.environ, HOME=str(folder)))
    title = re.search('<title>(.+?)</title>', done.stdout)
    assert title, done.stderr[-2000:]
    return json.loads(html.unescape(title[1]))


@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium')
@pytest.mark.parametrize('width', [1280, 390])
def test_in_a_browser(page, tmp_path, width):
    answer = ask(page.read_text(), tmp_path, width)
    assert answer['inner'] == width
    assert answer['scroll'] <= width and answer['beyond'] == 0
    assert answer['images'] > 10 and answer['broken'] == 0
    assert answer['fetched'] == answer['refused'] == []


@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium')
def test_the_browser_would_have_told(page, tmp_path):
    """A page that is too wide and asks for a file and for the network."""
    text = page.read_text().replace(
        '<main>', '<main><p style="width:700px">wide</p><img src="http://127.0.0.1:9/a.png" '
        'alt="a"><img src="other.png" alt="b">')
    answer = ask(text, tmp_path, 390)
    assert answer['scroll'] > 700 and answer['beyond'] >= 1 and answer['broken'] == 2
    assert len(answer['refused']) == 2
