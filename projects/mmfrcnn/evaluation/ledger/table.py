"""The ledger's sums as a table for the console."""

from __future__ import annotations

from typing import Any

from mmfrcnn.evaluation.ledger.fates import FATES
from mmfrcnn.evaluation.ledger.mistakes import BACKGROUND, KINDS


def table(summary: dict[str, Any]) -> str:
    """Return what became of the objects and what the detections are, and the recall.

    Args:
        summary (dict): Of :func:`~mmfrcnn.evaluation.ledger.ledger.summarise`.
    """
    iou, objects, found = summary['iou'], summary['objects'], summary['detections']
    lines = [f'Objects: {objects["total"]} in {summary["images"]} images, IoU {iou:g}']
    lines += _rows(objects, FATES)
    lines.append(f'Detections: {found["total"]}')
    kinds = {
        name: says.format(iou=iou, background=BACKGROUND)
        for name, says in KINDS.items()
    }
    lines += _rows(found, kinds)
    if objects['total']:
        recall = ', '.join(f'{k} {v:.3f}' for k, v in summary['recall'].items())
        lines.append(f'Proposals: {recall}')
    return '\n'.join(lines)


def _rows(counts: dict[str, int], says: dict[str, str]) -> list[str]:
    """Return a line for each count that is not 0."""
    total = max(counts['total'], 1)
    return [
        f'  {name:<23}{counts[name]:>8}{counts[name] / total:>7.1%}  {text}'
        for name, text in says.items()
        if counts[name]
    ]
