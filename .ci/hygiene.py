"""The part of the gate that no linter covers: sizes, links, and paths of one machine.

Looks at the files git knows or would add (in a copy without git: at all files) and
prints one line for each finding.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 512 * 1024
MAX_PYTHON_LINES = 500
TEXT_SUFFIXES = {'', '.cfg', '.json', '.md', '.py', '.sh', '.toml', '.txt', '.yml'}
# Homes, mounts and private addresses: a path that exists on one machine alone. The
# address 10.0.0.1 is what examples say.
MACHINE = re.compile(
    r'(?<![\w.])/(?:home|root|Users|work|opt|mnt)/[\w.]+'
    r'|\b(?!10\.0\.0\.1\b)(?:10\.\d{1,3}|192\.168)\.\d{1,3}\.\d{1,3}\b'
)
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
CODE = re.compile(r'^```.*?^```|`[^`\n]*`', re.MULTILINE | re.DOTALL)
HEADING = re.compile(r'^#+ +(.+)$', re.MULTILINE)


def repository_files() -> list[Path]:
    """Return the files of the repository that exist."""
    if (ROOT / '.git').exists():
        listing = subprocess.run(
            ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        paths = [ROOT / name for name in listing.split('\0') if name]
    else:
        paths = list(ROOT.rglob('*'))
    return sorted(path for path in paths if path.is_file())


def too_large(path: Path) -> Iterator[str]:
    """Yield a finding if the file is larger than a file of its kind should be."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        yield f'{size} bytes; at most {MAX_BYTES} belong in the repository'
    if path.suffix == '.py':
        lines = path.read_text(encoding='utf-8').count('\n')
        if lines > MAX_PYTHON_LINES:
            yield f'{lines} lines; split it, at most {MAX_PYTHON_LINES} are readable'


def machine_paths(path: Path) -> Iterator[str]:
    """Yield each path or address in a text file that one machine alone has."""
    if path.suffix in TEXT_SUFFIXES:
        for number, line in enumerate(path.read_text('utf-8').splitlines(), 1):
            for found in MACHINE.findall(line):
                yield f'line {number}: {found!r} exists on one machine alone'


def broken_links(path: Path) -> Iterator[str]:
    """Yield each relative link of a Markdown file that leads nowhere."""
    if path.suffix != '.md':
        return
    text = CODE.sub('', path.read_text('utf-8'))
    for target in LINK.findall(text):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, anchor = unquote(target).partition('#')
        file = path.parent / name if name else path
        if not file.exists():
            yield f'link to {target}, which does not exist'
        elif anchor and anchor not in anchors(file):
            yield f'link to {target}: no heading of that name'


def anchors(path: Path) -> set[str]:
    """Return the anchors GitHub gives the headings of a Markdown file."""
    text = CODE.sub(lambda code: code[0].strip('`'), path.read_text('utf-8'))
    headings = (heading.strip().lower() for heading in HEADING.findall(text))
    return {re.sub(r'[^\w\- ]', '', heading).replace(' ', '-') for heading in headings}


def main() -> int:
    """Print every finding; return 1 if there is one."""
    findings = [
        f'{path.relative_to(ROOT)}: {finding}'
        for path in repository_files()
        for check in (too_large, machine_paths, broken_links)
        for finding in check(path)
    ]
    print('\n'.join(findings), end='\n' if findings else '', file=sys.stderr)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
