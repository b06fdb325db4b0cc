"""The tests that a GPU makes a difference to, file by file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmfrcnn_benchmark.machine import describe_machine

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = 'tests/ops/'
"""All tests here run: kernels beside references, on the card where there is one."""
REASON = 'needs a CUDA device'
"""Why tests elsewhere are skipped without a card."""
FIXTURE = 'kernel_device'
"""The card where there is one, else the processor with Triton's interpreter."""


def test_files() -> list[str]:
    """Return the files, from the repository's root; first those that name a GPU."""
    naming, others = [], []
    for path in sorted(ROOT.glob('tests/**/test_*.py')):
        file, text = path.relative_to(ROOT).as_posix(), path.read_text('utf-8')
        if REASON in text or FIXTURE in text:
            naming.append(file)
        elif file.startswith(KERNELS):
            others.append(file)
    return sorted(naming, key=lambda file: not file.startswith(KERNELS)) + others


def run_tests(device: str, file: str) -> dict[str, Any]:
    """Run a file's tests that a GPU makes a difference to, in this process.

    Args:
        device (str): What is described; tests choose theirs.
        file (str): From the root of the repository.

    Returns:
        dict: ``passed`` and ``skipped``: how many; ``failed``: a line for each.
    """
    import pytest

    os.chdir(ROOT)
    outcomes = _Outcomes()
    code = pytest.main(
        ['-v', '--no-header', '-p', 'no:cacheprovider', '-c', 'pyproject.toml', file],
        plugins=[outcomes],
    )
    fine = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if code not in fine and not outcomes.failed:
        outcomes.failed.append(f'pytest ended with code {int(code)}: see the log')
    machine = describe_machine(device)
    return dict(benchmark='tests', file=file, machine=machine, **vars(outcomes))


class _Outcomes:
    """A plugin of pytest that chooses tests and keeps what became of them."""

    def __init__(self) -> None:
        self.passed = 0
        self.skipped = 0
        self.failed: list[str] = []

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        others = [item for item in items if not _is_of_the_card(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if _is_of_the_card(item)]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._keep_failure(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.skipped += report.skipped
        self.passed += report.passed and report.when == 'call'
        self._keep_failure(report)

    def _keep_failure(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, 'reprcrash', None)
            reason = (crash.message if crash else report.longreprtext).strip()
            name = report.nodeid.partition('::')[2] or 'it cannot be collected'
            self.failed.append(f'{name}: {reason.partition(chr(10))[0]}')


def _is_of_the_card(item: pytest.Item) -> bool:
    if item.nodeid.startswith(KERNELS) or FIXTURE in getattr(item, 'fixturenames', ()):
        return True
    marks = item.iter_markers('skipif')
    return any(REASON in mark.kwargs.get('reason', '') for mark in marks)
