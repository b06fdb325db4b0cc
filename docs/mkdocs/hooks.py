"""What the site has beside the pages of docs/, and where links lead there.

Pages link to files of the repository, as GitHub resolves it. Here each file that is
linked to is a page: Markdown as it is, a notebook with its code, source with its lines.
So the site is whole without a connection, and needs no address of a repository.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
OUTSIDE = [
    *(ROOT / name for name in ('CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md')),
    *sorted(ROOT.glob('configs/*/README.md')),
    *sorted(ROOT.glob('projects/*/README.md')),
]
ELSEWHERE = {'SECURITY.md': 'vulnerabilities.md'}
"""Addresses of files whose own are, but for capitals, those of pages of docs/."""
LINK = r'(?<=\]\()(?![a-z]+:)[^)#\s]+'
CODE = r'^```.*?^```|`[^`\n]*`'
CODE_OR_LINK = re.compile(f'(?P<code>{CODE})|(?P<link>{LINK})', re.M | re.S)


def on_config(config: MkDocsConfig) -> None:
    """Name the anchors of headings as GitHub does."""
    config.mdx_configs['toc']['slugify'] = slugify(case='lower')


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are not Markdown in docs/."""
    texts = {path: path.read_text('utf-8') for path in OUTSIDE}
    texts |= {path: notebook_text(path) for path in DOCS.glob('*.ipynb')}
    for page in [*DOCS.rglob('*.md'), *OUTSIDE]:
        for path in linked(page.read_text('utf-8'), page.parent):
            if not path.is_relative_to(DOCS) and path.suffix != '.md':
                texts.setdefault(path, source_text(path))
    for path, text in texts.items():
        files.append(File.generated(config, uri_of(path), content=text))


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Lead the relative links of a page to where their files are in the site."""
    uri = page.file.src_uri
    outside = uri in map(uri_of, OUTSIDE)
    folder = ((ROOT if outside else DOCS) / uri).parent

    def lead(found: re.Match[str]) -> str:
        target = found['link'] and (folder / found['link']).resolve()
        if not target or not target.exists():
            return found[0]  # mkdocs names links to nowhere
        return posixpath.relpath(uri_of(target), posixpath.dirname(uri) or '.')

    return CODE_OR_LINK.sub(lead, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Leave out the roles of Sphinx that docstrings have before a name."""
    return re.sub(r':(func|class|meth|mod):(?=<)', '', html)


def linked(markdown: str, folder: Path) -> Iterator[Path]:
    """Yield the files and folders of the repository that a page links to."""
    for found in CODE_OR_LINK.finditer(markdown):
        path = (folder / (found['link'] or '')).resolve()
        if found['link'] and path.exists():
            yield path


def uri_of(path: Path) -> str:
    """Return where a file of the repository is in the site."""
    if path.is_relative_to(DOCS):
        path = path.relative_to(DOCS)
        return str(path.with_suffix('.md') if path.suffix == '.ipynb' else path)
    uri = path.relative_to(ROOT).as_posix()
    uri = ELSEWHERE.get(uri, uri)
    return uri if path.suffix == '.md' else f'{uri}.md'


def source_text(path: Path) -> str:
    """Show a file of Python, or a folder of them; the search leaves the page out."""
    files = sorted(path.glob('*.py')) if path.is_dir() else [path]
    blocks = [
        f'# `{file.relative_to(ROOT)}`\n\n~~~~python\n{file.read_text("utf-8")}~~~~\n'
        for file in files
    ]
    return '---\nsearch: {exclude: true}\n---\n' + '\n'.join(blocks)


def notebook_text(path: Path) -> str:
    """Show a notebook without outputs as a page."""
    parts = []
    for cell in json.loads(path.read_text('utf-8'))['cells']:
        text = ''.join(cell['source'])
        if cell['cell_type'] == 'code':
            language = 'bash' if text.startswith('!') else 'python'
            text = f'```{language}\n{text}\n```'
        parts.append(text)
    return '\n\n'.join(parts)
