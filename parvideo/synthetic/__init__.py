"""Drawn data sets whose truth is known, and an exact reader of their clips."""

from parvideo.synthetic.shapes import ToySettings, draw_toy_clip, toy_videos, write_toy_data

__all__ = ["ToySettings", "draw_toy_clip", "toy_videos", "write_toy_data"]
