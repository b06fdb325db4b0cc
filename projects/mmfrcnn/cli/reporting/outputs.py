"""The files of a report: a page for people, a file for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmfrcnn.cli.outputs import check_file
from mmfrcnn.evaluation.label_errors import LabelError, write_label_errors
from mmfrcnn.files import write_whole
from mmfrcnn.report.advice import Advice
from mmfrcnn.report.facts import Facts
from mmfrcnn.report.page import Origin, render
from mmfrcnn.report.pictures import best_threshold, worst_images
from mmfrcnn.report.record import record_of

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


def write_report(
    folder: Path,
    facts: Facts,
    figures: dict[str, Any],
    advice: Sequence[Advice],
    errors: Sequence[LabelError],
    origin: Origin,
    comparison: dict[str, Any] | None,
) -> None:
    """Write a report.

    Args:
        folder (Path): Of the run: page and record are put there, the rest in the
            folder ``report`` in it.
        facts (Facts): What is known of the run.
        figures (dict): Of its evaluation.
        advice (Sequence[Advice]): Best first.
        errors (Sequence[LabelError]): Likely label errors, surest first.
        origin (Origin): Where it comes from.
        comparison (dict | None): With another run.
    """
    details = folder / DETAILS
    details.mkdir(parents=True, exist_ok=True)
    columns = facts.held_out.columns
    columns.write(details / COLUMNS)
    write_label_errors(details / LABELS, errors, columns)
    worst = worst_images(facts.held_out, best_threshold(figures))
    record = {
        'made_by': 'mmfrcnn report',
        **record_of(facts, figures, advice, errors, origin, worst),
        'comparison': comparison,
    }
    write_whole(folder / RECORD, json.dumps(record, indent=1, allow_nan=False))
    page = render(facts, figures, advice, errors, origin, worst)
    write_whole(folder / PAGE, page)
