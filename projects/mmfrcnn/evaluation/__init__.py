"""Metrics that mmdet lacks or gets wrong."""

from __future__ import annotations

from mmfrcnn.evaluation.ledger import LedgerHook
from mmfrcnn.evaluation.lvis import LvisMetric
from mmfrcnn.evaluation.proposal_recall import ProposalRecall
from mmfrcnn.evaluation.voc import PascalVocMetric

__all__ = ['LedgerHook', 'LvisMetric', 'PascalVocMetric', 'ProposalRecall']
