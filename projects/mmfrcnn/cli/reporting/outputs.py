"""The files of a report: a page for people, a file for programs."""

from __future__ import annotations

import json
from pathlib import Path

from mmfrcnn.cli.outputs import check_file
from mmfrcnn.evaluation.label_errors import write_label_errors
from mmfrcnn.files import write_whole
from mmfrcnn.report.page import render
from mmfrcnn.report.record import record_of
from mmfrcnn.report.report import Report

PAGE, RECORD, LABELS, COLUMNS = (
    *('report.html', 'report.json'),
    *('label_errors.json', 'ledger.npz'),
)
DETAILS = 'report'
"""Folder of what stands behind the page, in the run's."""
FIRST_KEY = b'"made_by": "mmfrcnn report"'
FIRST_TAG = b'<meta name="generator" content="mmfrcnn report">'


def check_outputs(folder: Path) -> None:
    """Refuse to write over files that no report is.

    Raises:
        UserError: Naming the file.
    """
    check_file('the report', folder / PAGE, lambda begin: FIRST_TAG in begin)
    check_file('the report', folder / RECORD, lambda begin: FIRST_KEY in begin)


def write_report(folder: Path, report: Report) -> None:
    """Write a report.

    Args:
        folder (Path): Of the run: page and record are put there, the rest in the
            folder ``report`` in it.
        report (Report): What is written.
    """
    details = folder / DETAILS
    details.mkdir(parents=True, exist_ok=True)
    columns = report.facts.held_out.columns
    columns.write(details / COLUMNS)
    write_label_errors(details / LABELS, report.errors, columns)
    record = {'made_by': 'mmfrcnn report', **record_of(report)}
    write_whole(folder / RECORD, json.dumps(record, indent=1, allow_nan=False))
    write_whole(folder / PAGE, render(report))
