"""Drawn data sets whose truth is known, and an exact reader of their clips."""

from parvideo.synthetic.shapes import ShapesSettings, draw_shapes_clip, shapes_videos, write_shapes_data

__all__ = ["ShapesSettings", "draw_shapes_clip", "shapes_videos", "write_shapes_data"]
