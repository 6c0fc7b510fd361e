"""Drawn data sets whose truth is known, and an exact reader of their clips."""

from parvideo.synthetic.shapes import ShapesSettings, render_shapes_clip, write_shapes_data

__all__ = ["ShapesSettings", "render_shapes_clip", "write_shapes_data"]
