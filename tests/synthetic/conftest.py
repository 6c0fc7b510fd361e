"""Shared by the tests of drawn sets."""

import importlib
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The tool that measures the reader."""
    return importlib.import_module("tools.measure.synthetic_reader")
