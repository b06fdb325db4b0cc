"""Annotation formats, each in one place: its reader, its data set and its writer."""
