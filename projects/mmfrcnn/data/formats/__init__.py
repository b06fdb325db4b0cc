"""Annotation formats, a file each: how they are read, and the data set over them."""
