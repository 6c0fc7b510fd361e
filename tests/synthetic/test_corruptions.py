"""Damaged clips are seen by the reader, and named rightly."""

import importlib
from types import ModuleType

import pytest

from parvideo.synthetic.corruptions import DAMAGES
from parvideo.synthetic.objects import (
    ObjectsSettings,
)

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


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("tools.measure.synthetic_reader")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_named(tool: ModuleType, damage: str) -> None:
    items = tool.damaged_clips(SETTINGS, damage, 24 if LEAST[damage][0] < 0.95 else 12, 0)
    row = tool.measure(damage, SETTINGS, items, DAMAGES[damage])
    assert row.violations >= LEAST[damage][0]
    assert row.named >= LEAST[damage][1]


SETTINGS = ObjectsSettings(groups=2, clips_per_group=1)
