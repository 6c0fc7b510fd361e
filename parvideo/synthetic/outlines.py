"""The outlines that synthetic sets are drawn with, as signed distances."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

SHAPES = ("Square", "Disc", "Triangle", "Cross", "Ring", "Bar", "Diamond", "Star")


def shape_distance(shape: str, u: Array, v: Array) -> Array:
    """Signed distance to the outline (below 0 inside), in radii, exact enough near it to soften a pixel.

    Args:
        shape: one of ``SHAPES``; its centroid is at 0.
        u: coordinate to the right, in radii, of any shape that broadcasts with ``v``.
        v: coordinate downwards, in radii.
    """
    a, b = np.abs(u), np.abs(v)
    if shape == "Square":
        return np.maximum(a, b) - 0.85
    if shape == "Disc":
        return np.hypot(u, v) - 1
    if shape == "Triangle":
        return np.maximum(0.866 * a + 0.5 * v, -v) - 0.55
    if shape == "Cross":
        return np.minimum(np.maximum(a - 1, b - 0.36), np.maximum(a - 0.36, b - 1))
    if shape == "Ring":
        return np.abs(np.hypot(u, v) - 0.75) - 0.27
    if shape == "Bar":
        return np.maximum(a - 1.25, b - 0.4)
    if shape == "Diamond":
        return (a / 0.8 + b / 1.2 - 1) * 0.67
    if shape == "Star":
        return np.hypot(u, v) - 0.72 - 0.33 * np.cos(5 * np.arctan2(v, u))
    raise ValueError(f"shape is {shape!r}; it must be one of {', '.join(SHAPES)}")
