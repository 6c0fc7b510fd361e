"""Shared by all tests: the data beside the checkout, a fixed seed, and no test that asserts a time."""

import os
import tempfile
from pathlib import Path

# As the command does, and before torch is imported: threads that spin while they wait make tests crawl
# on a machine that others share.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What is kept of files (checksums) is kept for these tests alone, and for the processes that they start.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="parvideo-tests-")

import hypothesis
import pytest
import torch

from parvideo.files import cache_folder
from parvideo.metrics import i3d_weights

USER_CACHE = cache_folder()

# A deadline is a time asserted; derandomized examples make a red test red for everyone.
hypothesis.settings.register_profile("parvideo", deadline=None, derandomize=True)
hypothesis.settings.load_profile("parvideo")


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of golden outputs and real clips that lies beside the checkout; absent elsewhere."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: golden outputs and real clips lie beside the checkout only")
    return folder


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user's cache folder holds changes no test."""
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_i3d() -> Path:
    """The Kinetics-400 I3D weights, where somebody fetched them."""
    path = USER_CACHE / i3d_weights.FILENAME
    if not path.is_file():
        pytest.skip(f"{path} is absent: `{i3d_weights.COMMAND}` fetches it (47 MB)")
    return path


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
