"""Metrics that mmdet lacks or gets wrong."""

from __future__ import annotations

from mmfrcnn.evaluation.fast_coco import FastCocoMetric
from mmfrcnn.evaluation.ledger import LedgerHook
from mmfrcnn.evaluation.lvis import LvisMetric
from mmfrcnn.evaluation.proposal_recall import ProposalRecall
from mmfrcnn.evaluation.voc import PascalVocMetric

__all__ = [
    'FastCocoMetric',
    'LedgerHook',
    'LvisMetric',
    'PascalVocMetric',
    'ProposalRecall',
]
