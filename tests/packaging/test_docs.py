"""The pages of docs/: each is in the navigation, and what they tell to run can be run.

That links and anchors lead somewhere, the gate says for all Markdown (.ci/hygiene.py).
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from mmdet import registry
from mmengine.registry import Registry

import mmfrcnn
from mmfrcnn_console import COMMANDS
from tests.data.discovery.exports import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]
SITE = 'docs/mkdocs/mkdocs.yml'
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text('utf-8')
    for path in [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
}
FENCE = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)
OTHER_COMMANDS = re.compile(
    r'make [\w-]+( PYTHON=\S+)?|pip install .*|source \.venv/bin/activate'
    r'|python requirements/install\.py'
)
"""What the tests of the installation run, or the user's own packages decide."""

PYTHON_BLOCKS = {
    # The comparison is run by tests/evaluation/figures/test_figures.py.
    'docs/diagnose.md': 'tests/evaluation/test_label_errors.py',
    'docs/options.md': 'tests/zoo/test_options.py',
    'docs/own_data.md': 'tests/packaging/test_readme.py',
    'docs/python.md': 'tests/deploy/test_python_page.py',
    # No test runs these as they are; that they parse and name registered parts is seen
    # here.
    'docs/data.md': 'a part of a config',
    'docs/extending.md': "a project of the reader's, and a stock config of mmdet",
    'docs/install.md': 'the first line of a config',
    'docs/training.md': 'what configs/alternating holds; tests/cli/test_in_python.py',
}
"""For each page with Python: the test that runs it, or why none does."""


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """Yield page and text of the blocks of some languages."""
    for page, text in PAGES.items():
        for language, block in FENCE.findall(text):
            if language in languages:
                yield page, block


def shell_lines() -> list[tuple[str, str]]:
    """Return page and command; a block without a language is of commands too."""
    found = [
        (page, line)
        for page, block in blocks('bash', '')
        for line in block.replace('\\\n', ' ').splitlines()
        if line.strip() and not line.startswith('#')
    ]
    # The picture of how data flows.
    return [(page, line) for page, line in found if re.match(r'[a-z]+( |$)', line)]


OTHER_NAMES = {'vulnerabilities.md': 'SECURITY.md'}
"""Files of pages that are named otherwise in the site (docs/mkdocs/hooks.py)."""


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((ROOT / SITE).read_text('utf-8'))

    def leaves(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            values = entry.values() if isinstance(entry, dict) else entry
            for value in values:
                yield from leaves(value)

    listed = list(leaves(config['nav']))
    # Where capitals make no other name, one would be written over the other.
    assert len(listed) == len({page.lower() for page in listed})
    pages = {page.removeprefix('docs/') for page in PAGES if page != 'README.md'}
    notebooks = {f'{path.stem}.md' for path in (ROOT / 'docs').glob('*.ipynb')}
    missing = (pages | notebooks) - set(listed)
    assert not missing, f'in no line of nav in {SITE}: {sorted(missing)}'
    for page in set(listed) - pages - notebooks:
        assert (ROOT / OTHER_NAMES.get(page, page)).is_file(), page


def test_headings_of_a_page_have_names_of_their_own():
    """GitHub and mkdocs number equal ones differently, so that a link would break."""
    for page, text in PAGES.items():
        headings = re.findall(r'^#+ (.+)$', FENCE.sub('', text), re.MULTILINE)
        assert len(headings) == len({heading.lower() for heading in headings}), page


@pytest.mark.parametrize('page', sorted({page for page, _ in shell_lines()}))
def test_commands_are_ones_that_the_tools_take(page, monkeypatch, capsys):
    lines = [line for where, line in shell_lines() if where == page]
    checked = subprocess.run(
        ['bash', '-n'], input='\n'.join(lines), text=True, capture_output=True
    )
    assert checked.returncode == 0, checked.stderr
    for line in lines:
        words = shlex.split(line, comments=True)
        if OTHER_COMMANDS.fullmatch(line.partition('  #')[0].strip()):
            continue
        if words[:3] == ['python', '-m', 'pytest']:
            assert (ROOT / words[3]).exists(), line
            continue
        if words[:2] == ['python', '-m'] and words[2].startswith('tests.'):
            assert importlib.util.find_spec(words[2]), line
            continue
        if words[0] == 'torchrun':
            words = words[words.index('-m') + 1 :]
        if words[0] == 'mmfrcnn':
            tool = COMMANDS[words[1]][0] if len(words) > 1 else 'doctor'
            arguments = words[2:]
        else:
            assert words[0] == 'python' and words[1].startswith('tools/'), line
            tool, arguments = Path(words[1]).stem, words[2:]
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        parse = runpy.run_path(str(ROOT / f'tools/{tool}.py')).get('parse_args')
        if parse is None:
            assert tool == 'doctor' and not arguments
            continue
        try:
            parse()
        except SystemExit:
            pytest.fail(f'{page}: {line}\n{capsys.readouterr().err}')


def test_a_page_with_python_names_its_test_or_the_reason_for_none():
    with_python = {page for page, _ in blocks('python')}
    assert with_python <= set(PYTHON_BLOCKS)
    for page in with_python:
        test = PYTHON_BLOCKS[page]
        if test.startswith('tests/'):
            assert Path(page).name in (ROOT / test).read_text('utf-8')


def test_python_parses_and_its_types_are_registered():
    """The types where no test builds the block."""
    registries = [one for one in vars(registry).values() if isinstance(one, Registry)]
    for page, block in blocks('python'):
        tree = ast.parse(block, page)
        if PYTHON_BLOCKS[page].startswith('tests/'):
            continue
        own = re.findall(r'^class (\w+)', PAGES[page], re.MULTILINE)
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == 'type':
                name = ast.literal_eval(node.value)
                assert name in own or any(one.get(name) for one in registries), page


def test_folders_of_formats_are_those_that_are_recognised(tmp_path):
    """Each is of a layout on which `mmfrcnn new` is tested."""
    sections = re.split(r'^## ', PAGES['docs/formats.md'], flags=re.MULTILINE)
    kinds = ['coco', 'voc', 'yolo', 'csv', 'labelme', 'label_studio']
    for kind, section in zip(kinds, sections[1:], strict=False):
        written = []
        for name, (write, of_kind, _) in LAYOUTS.items():
            if of_kind == kind:
                write(tmp_path / name)
                files = (tmp_path / name).rglob('*')
                written.append({p.relative_to(tmp_path / name) for p in files})
        folders = [block for language, block in FENCE.findall(section)]
        assert folders, kind
        for folder in folders:
            *lines, more = folder.splitlines()
            shown = {Path(line).relative_to('data/pets') for line in lines}
            assert more == '...' and any(shown <= files for files in written), folder


class Loaded(HTMLParser):
    """Collects what a page loads, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in ('script', 'img', 'link', 'iframe') and (
            attributes.get('rel') != 'canonical'
        ):
            self.addresses += filter(
                None, [attributes.get('src'), attributes.get('href')]
            )


@pytest.mark.skipif(
    not importlib.util.find_spec('mkdocstrings_handlers'),
    reason="the site is built where mkdocs is: pip install -e '.[docs]', or make docs",
)
def test_the_site_is_built_without_a_connection(tmp_path):
    nowhere = {'http_proxy': 'http://127.0.0.1:9', 'https_proxy': 'http://127.0.0.1:9'}
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--config-file']
    result = subprocess.run(
        [*command, SITE, '--site-dir', str(tmp_path)],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    pages = list(tmp_path.rglob('*.html'))
    # Where capitals make no other name, a page would be written over another.
    assert len({str(page).lower() for page in pages}) == len(pages)
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text('utf-8'))
        assert not [a for a in loaded.addresses if re.match('(https?:)?//', a)], page
    reference = (tmp_path / 'reference/modeling.html').read_text('utf-8')
    for name in mmfrcnn.modeling.__all__:
        assert f'id="mmfrcnn.modeling.{name}"' in reference
    assert 'pos_iou_thr' in reference and ':func:' not in reference
    assert (tmp_path / 'search/search_index.json').stat().st_size > 100_000
