"""The region proposal network: objectness and box of every anchor; proposals."""

from .head import RegionProposalHead
from .proposals import Proposals, select_proposals

__all__ = ['Proposals', 'RegionProposalHead', 'select_proposals']
