"""Damaged clips are seen by the reader, and named rightly."""

from types import ModuleType

import pytest

from parvideo.synthetic.corruptions import DAMAGES
from tests.synthetic.cases import LEAST, SETTINGS


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_named(tool: ModuleType, damage: str) -> None:
    items = tool.damaged_clips(SETTINGS, damage, 24 if LEAST[damage][0] < 0.95 else 12, 0)
    row = tool.measure(damage, SETTINGS, items, DAMAGES[damage])
    assert row.violations >= LEAST[damage][0]
    assert row.named >= LEAST[damage][1]
