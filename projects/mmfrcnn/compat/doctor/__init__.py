"""Say on one screen what is fine here and, for what is not, the command that cures it.

Only the standard library is imported, and every package is tried in a process of its
own, so the doctor works where torch or the mm stack is missing, broken or crashes.

Examples:
    mmfrcnn doctor
    python tools/doctor.py --json    # in a checkout, before it is installed
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

# Relative: tools/doctor.py loads this package by its path, alone.
from . import checks
from .checks import Finding
from .probes import PROBES, Probe, run_probe


def examine(folder: Path, probe: Callable[[str], Probe] = run_probe) -> list[Finding]:
    """Look at everything.

    Args:
        folder (Path): The folder that holds, or would hold, ``data/``.
        probe (Callable): Runs a probe by name; two run at a time.

    Returns:
        list[Finding]: One for each line of the report.
    """
    with ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(probe, name) for name in PROBES}
        probes = {name: run.result() for name, run in running.items()}
    torch, torchvision = probes['torch'], probes['torchvision']
    providers = [checks.check_provider(module) for module in checks.PROVIDERS]
    others = [
        checks.check_opencv(probes['opencv']),
        checks.check_package('numpy', probes['numpy'], '2.0'),
        checks.check_matplotlib(probes['matplotlib']),
        checks.check_package('pycocotools', probes['pycocotools'], '2.0.8'),
    ]
    first = [
        checks.check_torch(torch),
        checks.check_torchvision(torch, torchvision),
        *others,
    ]
    basics = all(finding.state == 'fine' for finding in first)
    return [
        checks.check_python(),
        *first[:2],
        checks.check_cuda(torch, checks.nvidia_driver()),
        *others,
        *providers,
        checks.check_stack(probes['mm packages'], providers, basics),
        checks.check_setuptools(),
        checks.check_disk(folder),
        *checks.check_data(folder),
    ]


def report(findings: list[Finding]) -> str:
    """Return the report as text."""
    signs = {'fine': 'ok   ', 'wrong': 'WRONG', 'note': '-    '}
    lines = []
    for finding in findings:
        lines.append(f'{signs[finding.state]} {finding.name:<13} {finding.says}')
        if finding.cure:
            lines.append(f'{"":>20}-> {finding.cure}')
    wrong = sum(finding.state == 'wrong' for finding in findings)
    lines.append(f'{wrong} wrong; see -> for the cure' if wrong else 'all fine')
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 when all is fine, 1 when something is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(arguments)
    findings = examine(Path.cwd())
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print(report(findings))
    return int(any(finding.state == 'wrong' for finding in findings))
