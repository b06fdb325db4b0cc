"""The report for programs: what the page shows, as plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmfrcnn.report.flow import flow
from mmfrcnn.report.report import Report
from mmfrcnn.report.sizes import anchor_recall, side_histogram

LISTED = 200
"""Label errors in the record; all are in a file of their own."""


def record_of(report: Report) -> dict[str, Any]:
    """Return the record, of values that JSON has."""
    origin, facts, errors = report.origin, report.facts, report.errors
    return {
        'title': origin.title,
        'source': origin.source,
        'command': origin.command,
        'sentences': list(origin.sentences),
        'advice': [asdict(one) for one in report.advice],
        'ledger': facts.held_out.summary,
        'training_ledger': facts.training and facts.training.summary,
        'flow': flow(facts.held_out),
        'figures': report.figures,
        'anchors': anchor_recall(facts),
        'sizes': side_histogram(facts),
        'training_objects': None
        if facts.class_counts is None
        else dict(zip(facts.classes, facts.class_counts, strict=True)),
        'images': [
            {'name': one.name, 'mistakes': one.notes, 'reasons': one.reasons}
            for one in report.worst
        ],
        'label_errors': {
            'count': len(errors),
            'first': [asdict(one) for one in errors[:LISTED]],
        },
        'curves': {
            title: {
                name: {'iteration': list(steps), 'value': _finite(values)}
                for name, (steps, values) in lines.items()
            }
            for title, lines in origin.curves.items()
        },
        'config': origin.config,
        'environment': dict(origin.environment),
        'comparison': report.comparison,
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    """Put None for what JSON has no number for."""
    return [one if math.isfinite(one) else None for one in values]
