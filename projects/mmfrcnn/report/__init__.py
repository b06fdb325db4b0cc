"""A run explained: advice in words, and a page of figures and pictures.

To be read in this order: `facts` (what is known), `labels` (what detections say of the
labels), `advice` (what follows from it), `words` and `flow` (the ledger in sentences
and in steps), `charts` and `pictures`, `report` (all of it), `page` (for people, with
the template ``page.html``) and `record` (for programs).
"""
