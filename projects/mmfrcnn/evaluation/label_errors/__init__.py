"""Labels that are probably wrong, the surest first, from a detector's evaluation.

A detector that has seen many labels disagrees with the few that are wrong. To be read
in this order: `opinions` (what it says of each place, and of which object), `trust`
(how often the like of it is right), `excess` (whether a disagreement is more than what
the others lead one to expect), `rules` (the four kinds, in one list), `export`.
"""

from __future__ import annotations

from mmfrcnn.evaluation.label_errors.export import write_label_errors
from mmfrcnn.evaluation.label_errors.rules import KINDS, LabelError, label_errors

__all__ = ['KINDS', 'LabelError', 'label_errors', 'write_label_errors']
