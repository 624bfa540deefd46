"""The documentation site, built strictly, and in a browser where there is one."""

import ast
import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from html import unescape
from urllib.parse import unquote

import pytest

from support.toys import ROOT

pytestmark = pytest.mark.docs
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'google-chrome', 'chrome'))), None)
DRIVER = shutil.which('chromedriver')
WIDTHS = (1280, 390)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The folder of the site. A broken link or a missing reference fails."""
    folder = tmp_path_factory.mktemp('site')
    done = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', folder],
                          cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


def test_every_public_name_has_an_entry_with_an_example(site):
    page = (site / 'api.html').read_text()
    checked = 0
    for path in (ROOT / 'mmseg_dynopool').glob('*/__init__.py'):
        listed = re.search(r'^__all__ = (\[.*?\])', path.read_text(), re.M | re.S)
        for name in ast.literal_eval(listed[1]) if listed else ():
            _, found, entry = page.partition(f'id="mmseg_dynopool.{path.parent.name}.{name}"')
            assert found and '&gt;&gt;&gt;' in entry.partition('<h3')[0], name
            checked += 1
    assert checked > 55


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob('*.html'))
    assert len(pages) > 25
    loaded = [(page.name, found) for page in pages for found in re.findall(
        r'<(?:script|img|iframe|link rel="stylesheet")[^>]*(?:src|href)="(?:https?:)?//[^"]*"'
        r'|import\(\s*"https?://[^"]*"', page.read_text())]
    assert loaded == []


def test_links_lead_to_pages_and_headings(site):
    """The notebook's, too, which mkdocs does not look at."""
    broken, ids, checked = [], {}, 0
    for page in sorted(site.rglob('*.html')):
        if page.name == '404.html':  # served at any address, with links from the root
            continue
        for link in set(re.findall(r'<a [^>]*?href="([^"]*)"', page.read_text())):
            if re.match('[a-z]+:', link):
                continue
            name, _, anchor = unescape(link).partition('#')
            target = (page.parent / unquote(name)).resolve() if name else page
            checked += 1
            if not target.is_file():
                broken.append((page.name, link))
            elif anchor and target.suffix == '.html':
                if target not in ids:
                    ids[target] = set(re.findall(r' id="?([^"\s>]+)', target.read_text()))
                if unquote(anchor) not in ids[target]:
                    broken.append((page.name, link))
    assert broken == []
    assert checked > 500


@pytest.fixture(scope='module')
def address(site):
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope='module')
def browser():
    if not (BROWSER and DRIVER):
        pytest.skip('needs Chromium or Chrome with its driver')
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in ('headless', 'no-sandbox', 'disable-gpu', 'no-first-run', 'disable-sync',
                   'disable-background-networking', 'disable-component-update'):
        options.add_argument(f'--{switch}')
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.parametrize('width', WIDTHS)
def test_pages_fit_the_screen(site, address, browser, width):
    """No page scrolls sideways, and each picture is there and no wider than its page."""
    wrong = {}
    for page in sorted(site.rglob('*.html')):
        name = str(page.relative_to(site))
        if name == '404.html':
            continue
        set_width(browser, width)
        browser.get(f'{address}/{name}')
        found = browser.execute_script('''
            document.querySelectorAll('img').forEach(img => img.loading = 'eager');
            const page = document.documentElement;
            return [window.innerWidth, page.scrollWidth,
                    [...document.images].filter(img => img.closest('article'))
                    .filter(img => !img.naturalWidth || img.clientWidth > innerWidth)
                    .map(img => img.getAttribute('src'))]''')
        if found[1] > width or found[2] or found[0] != width:
            wrong[name] = found
    assert wrong == {}


def test_no_line_of_code_is_cut(site, address, browser):
    """Beside both columns of links; what a notebook prints has its own ways."""
    set_width(browser, 1280)
    cut, seen = {}, 0
    for page in sorted(site.rglob('*.html')):
        name = str(page.relative_to(site))
        browser.get(f'{address}/{name}')
        count, found = browser.execute_script('''
            document.querySelectorAll('details').forEach(part => part.open = true);
            const blocks = [...document.querySelectorAll('article .highlight pre > code')];
            return [blocks.filter(code => code.clientWidth > 0).length,
                    blocks.filter(code => code.scrollWidth > code.clientWidth)
                    .map(code => code.innerText.slice(0, 80))]''')
        seen += count
        if found:
            cut[name] = found
    assert cut == {} and seen > 50


def set_width(browser, width):
    """Of the page itself: a window is never narrower than 500 pixels."""
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', dict(
        width=width, height=900, deviceScaleFactor=1, mobile=width < 600))


@pytest.mark.parametrize('query, page', [
    ('latency_budget', 'budget.html'), ('measured gradient', 'anchors.html'),
    ('DynOPoolConv2d', 'api.html'), ('pkg_resources', 'faq.html')])
def test_search_finds_a_page(address, browser, query, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait
    set_width(browser, WIDTHS[0])
    browser.get(f'{address}/index.html')
    browser.find_element(By.NAME, 'query').send_keys(query)
    results = WebDriverWait(browser, 30).until(lambda driver: driver.find_elements(
        By.CSS_SELECTOR, '.md-search-result__link'))
    assert any(page in link.get_attribute('href') for link in results)


def test_the_notebooks_outputs_are_on_the_site(site):
    notebook = json.loads((ROOT / 'docs' / 'first_steps.ipynb').read_text())
    pictures = sum('image/png' in output.get('data', {}) for cell in notebook['cells']
                   for output in cell.get('outputs', ()))
    page = (site / 'first_steps.html').read_text()
    assert len(re.findall(r'<img[^>]* src="data:image/png;base64,', page)) == pictures > 2
