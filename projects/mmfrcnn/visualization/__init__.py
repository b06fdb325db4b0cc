"""Pictures that show what a detector saw and what it made of it."""

from mmfrcnn.visualization.panels import draw_panel, write_panels

__all__ = ['draw_panel', 'write_panels']
