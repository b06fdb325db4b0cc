"""The ledger's sums as a table for the console."""

from __future__ import annotations

from typing import Any

from mmfrcnn.evaluation.ledger.fates import FATES
from mmfrcnn.evaluation.ledger.mistakes import BACKGROUND, KINDS
from mmfrcnn.evaluation.ledger.oracles import DETECTOR, ORACLES


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
        lines += _oracle_rows(summary['oracles'], iou)
    return '\n'.join(lines)


def _rows(counts: dict[str, int], says: dict[str, str]) -> list[str]:
    """Return a line for each count that is not 0."""
    total = max(counts['total'], 1)
    return [
        f'  {name:<23}{counts[name]:>8}{counts[name] / total:>7.1%}  {text}'
        for name, text in says.items()
        if counts[name]
    ]


def _oracle_rows(oracles: dict[str, Any], iou: float) -> list[str]:
    """Return the detector's AP, and what each perfect step would add."""
    base, gains = oracles[DETECTOR], oracles['gains']
    if not base:
        return []
    return [
        f'AP at IoU {iou:g}, and mean AP: {base["AP"]:.3f} {base["mean_AP"]:.3f}; with',
        *(
            f'  perfect {name:<18}{gain["AP"]:>+8.3f} {gain["mean_AP"]:>+6.3f}'
            f'  {ORACLES[name]}'
            for name, gain in gains.items()
        ),
    ]
