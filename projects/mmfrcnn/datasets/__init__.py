"""Data sets, and checks that no error in the data stays silent."""

from __future__ import annotations

from mmfrcnn.datasets.load_proposals import LoadStoredProposals
from mmfrcnn.datasets.preflight import (
    PreflightHook,
    check_dataset,
    explain_data_error,
)
from mmfrcnn.datasets.voc_xml import VocXmlDataset

__all__ = [
    'LoadStoredProposals',
    'PreflightHook',
    'VocXmlDataset',
    'check_dataset',
    'explain_data_error',
]
