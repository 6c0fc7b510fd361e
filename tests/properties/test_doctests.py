"""The examples in docstrings say what happens."""

import doctest
import importlib
from pathlib import Path

import pytest

import parvideo

PACKAGE = Path(parvideo.__file__).parent
MODULES = sorted(
    ".".join(("parvideo", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0, f"{result.failed} examples of {name} give something else"


def test_the_rooms_people_import_from_have_examples() -> None:
    rooms = {name.split(".")[1] for name in MODULES}
    assert {"order", "sampling", "pixels", "metrics", "checks", "transformer"} <= rooms
