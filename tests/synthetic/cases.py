"""What the reader of the objects set is held to."""

from parvideo.synthetic.objects import ObjectsSettings

SETTINGS = ObjectsSettings(groups=2, clips_per_group=1)
LEAST = {
    "regions": (0.9, 0.9),
    "duplicate": (0.95, 0.8),
    "remove": (0.95, 0.95),
    "recolour": (0.95, 0.75),
    "reshape": (0.8, 0.75),
    "jump": (0.95, 0.95),
    "freeze": (0.85, 0.8),
    "shuffle": (0.95, 0.95),
    "backdrop": (0.95, 0.95),
    "unhide": (0.95, 0.95),
}
"""The least share of damaged clips in which a violation is seen, and in which it is named rightly."""
