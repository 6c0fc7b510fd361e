"""Shared by all tests: the data beside the checkout, and one thread so that results and load are steady."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of golden outputs and real clips that lies beside the checkout; absent elsewhere."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: golden outputs and real clips lie beside the checkout only")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
