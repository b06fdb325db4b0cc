"""The figures that people expect of an evaluation, of a ledger's columns alone.

To be read in this order: `ranking` (the detections of each class, best first),
`average_precision` (COCO's, with weights of the images), `bootstrap` (its intervals),
`operating_point` (precision, recall and F1 over the score), `confusion`, `calibration`,
`scores`, `figures` (all of them, for a report), `comparison` (of two runs).
"""

from __future__ import annotations

from mmfrcnn.evaluation.figures.comparison import compare
from mmfrcnn.evaluation.figures.figures import figures_of

__all__ = ['compare', 'figures_of']
