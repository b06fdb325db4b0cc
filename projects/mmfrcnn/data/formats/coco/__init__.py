"""COCO: made regular, read for the checks and conversion, and written."""
