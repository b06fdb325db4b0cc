"""How a report comes about: `gather` (evaluations and figures of a run), `outputs`."""
