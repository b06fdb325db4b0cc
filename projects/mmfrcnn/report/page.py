"""The report as one page that needs no connection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mmfrcnn.evaluation.label_errors import LabelError
from mmfrcnn.evaluation.ledger.fates import FATES
from mmfrcnn.evaluation.ledger.mistakes import BACKGROUND, KINDS, NAMES
from mmfrcnn.evaluation.ledger.oracles import ORACLES
from mmfrcnn.evaluation.ledger.regained import STEPS
from mmfrcnn.report import charts
from mmfrcnn.report.facts import Facts
from mmfrcnn.report.flow import counts, flow, sizes
from mmfrcnn.report.pictures import label_pictures
from mmfrcnn.report.report import Report
from mmfrcnn.report.sizes import REACHES, anchor_recall, side_histogram

TEMPLATE = Path(__file__).with_name('page.html')
SECTIONS = (
    *(('summary', 'Summary'), ('ledger', 'Where the objects are lost')),
    *(('figures', 'Figures'), ('anchors', 'Anchors and sizes')),
    *(('images', 'Images of most mistakes'), ('labels', 'Likely label errors')),
    *(('training', 'Training'), ('run', 'Config and environment')),
)
LABELS, CLASSES, SMALL_MATRIX = 60, 200, 20
"""How many labels and classes are shown; classes of a matrix of numbers."""
LIKELY = 0.5
"""Certainty from which on a label error is shown."""
DARKEST = 0.6
"""Of a cell of the confusion matrix, so that black letters can be read on it."""
CLASS_FIGURES = ('AP', 'AP50', 'AP75', 'AR')
BEST_POINT = ('best_threshold', 'precision', 'recall', 'F1')


def render(report: Report) -> str:
    """Return the page, HTML."""
    origin, facts, figures = report.origin, report.facts, report.figures
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text('utf-8'))
    return template.render(
        title=origin.title,
        source=origin.source,
        sections=SECTIONS,
        advice=report.advice,
        sentences=origin.sentences,
        numbers=_numbers(facts, figures),
        **_ledger(facts),
        **_figures(figures),
        **_confusion(figures['confusion']),
        **_anchors(facts),
        pictures=report.worst,
        threshold=f'{report.threshold:.2f}',
        **_labels(report.errors, origin.labels_file),
        training_charts=[
            (title, charts.curves(title, lines))
            for title, lines in origin.curves.items()
            if lines
        ],
        command=origin.command,
        config=origin.config,
        environment='\n'.join(f'{k}: {v}' for k, v in origin.environment.items()),
    )


def _numbers(facts: Facts, figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, value and interval of what comes first."""
    mean = figures['mean']
    found = facts.held_out.share('detected')
    numbers = [
        (name, _number(mean[name]), _interval(mean['interval'][name]))
        for name in CLASS_FIGURES
    ]
    best = figures['curves']['all']['best']
    numbers += [
        ('objects detected', f'{found:.1%}', f'of {figures["objects"]}'),
        ('best F1', _number(best['F1']), f'at score {_number(best["threshold"])}'),
    ]
    if facts.training is not None:
        seen = facts.training.average_precision
        images = f'on {len(facts.training.columns.image_id)} images trained on'
        numbers.append(('AP50', _number(seen), images))
    return numbers


def _interval(interval: dict[str, float | None]) -> str:
    if interval['low'] is None:
        return ''
    return f'95%: {_number(interval["low"])} to {_number(interval["high"])}'


def _number(value: float | None) -> str:
    return '-' if value is None or value < 0 else f'{value:.3f}'


def _ledger(facts: Facts) -> dict[str, Any]:
    split, summary = facts.held_out, facts.held_out.summary
    classes = facts.classes
    rows = counts(split)
    occurring = {row[0] for row in rows}
    detections = {k: v for k, v in summary['detections'].items() if k != 'total'}
    gains = (summary.get('oracles') or {}).get('gains') or {}
    seen = [fate for fate in FATES if summary['objects'][fate]]
    return {
        'iou': f'{summary["iou"]:g}',
        'class_names': [name for i, name in enumerate(classes) if i in occurring],
        'sizes': sizes(split),
        'reasons': [
            *(fate for fate in seen if fate != 'detected'),
            *(k for k in NAMES if k not in ('true', 'ignored') and detections[k]),
        ],
        'flow': flow(split),
        'flow_total': summary['objects']['total'],
        'fate_texts': [(fate, FATES[fate]) for fate in seen if fate != 'detected'],
        'kinds': [
            (k, n, KINDS[k].format(iou=summary['iou'], background=BACKGROUND))
            for k, n in detections.items()
            if n
        ],
        'gains': [
            (name, f'{gain["AP"]:+.3f}', f'{gain["mean_AP"]:+.3f}', ORACLES[name])
            for name, gain in gains.items()
        ],
        'data': {
            'counts': rows,
            'classes': classes,
            'sizes': sizes(split),
            'fates': list(FATES),
            'steps': list(STEPS.items()),
        },
    }


def _figures(figures: dict[str, Any]) -> dict[str, Any]:
    most = sorted(figures['classes'], key=lambda row: -row['objects'])[:CLASSES]
    names = (*CLASS_FIGURES, *BEST_POINT)
    pictures = {}
    if figures['detections']:
        pictures = {
            **charts.operating_points(figures),
            'Calibration: how often a score is right': charts.calibration(figures),
            'Scores of the detections, by kind': charts.scores(figures),
        }
    left = len(figures['classes']) - len(most)
    return {
        'class_columns': [
            *('class', 'objects', 'detections'),
            *(name.replace('_', ' ') for name in names),
        ],
        'class_rows': [
            [
                *(row[key] for key in ('name', 'objects', 'detections')),
                *(_number(row[key]) for key in names),
            ]
            for row in most
        ],
        'classes_note': f' ({left} more are in report.json)' if left else '',
        'charts': list(pictures.items()),
    }


def _confusion(confusion: dict[str, Any]) -> dict[str, Any]:
    matrix, names = confusion['matrix'], confusion['names']
    small = matrix is not None and len(names) <= SMALL_MATRIX
    rows = []
    for name, row in zip([*names, 'background'], matrix or [], strict=False):
        total = max(sum(row), 1)
        rows.append((name, [(n, round(DARKEST * n / total, 2)) for n in row]))
    threshold = confusion['threshold']
    return {
        'confusion_threshold': f'{threshold or 0:.2f}',
        'matrix_names': [*names, 'background'] if small else [],
        'matrix_rows': rows if small else [],
        'matrix_picture': charts.confusion(matrix, names)
        if matrix is not None and not small
        else '',
        'confusions': confusion['largest'][:10],
    }


def _anchors(facts: Facts) -> dict[str, Any]:
    return {
        'anchor_columns': [f'IoU {one:g}' for one in REACHES],
        'anchor_rows': [
            (name, [f'{share:.1%}' for share in shares.values()])
            for name, shares in anchor_recall(facts).items()
        ],
        'recall': [
            (k, _number(v)) for k, v in facts.held_out.summary['recall'].items()
        ],
        'sides_chart': charts.object_sides(side_histogram(facts)),
    }


def _labels(errors: Sequence[LabelError], file: str) -> dict[str, Any]:
    likely = [one for one in errors if one.certainty >= LIKELY]
    first = likely[:LABELS]
    shown = [
        {
            'kind': one.kind,
            'certainty': one.certainty,
            'given': one.label,
            'suggested': one.suggested_label,
            'name': Path(one.path).name,
        }
        for one in first
    ]
    return {
        'labels': list(zip(shown, label_pictures(first), strict=True)),
        'labels_count': len(likely),
        'labels_file': file,
    }
