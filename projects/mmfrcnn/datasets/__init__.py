"""Data sets, and checks that no error in the data stays silent."""

from __future__ import annotations

from mmfrcnn.datasets.voc_xml import VocXmlDataset

__all__ = ['VocXmlDataset']
