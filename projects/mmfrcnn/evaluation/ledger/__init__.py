"""A ledger of every object and every detection of an evaluation.

A number says how good a detector is; the ledger says why. To be read in this order:
`trace` (what both stages made of an image), `truth` (its objects) and their `groups`,
`matching` (which detection finds which), `fates` (the step that lost an object),
`mistakes` (what is wrong with a false detection), `page` and `ledger` (the account of
an image, and the sums), `oracles` (what a perfect step would answer), `regained` (the
AP that each mistake or step costs), `table` and `columns` (the console's form and a
file's), `hook`.
"""

from __future__ import annotations

from mmfrcnn.evaluation.ledger.hook import LedgerHook

__all__ = ['LedgerHook']
