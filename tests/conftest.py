"""Shared by all tests: data beside the checkout, a tiny shapes set, models that fit it, a fixed seed."""

import os
import tempfile
from pathlib import Path

# As the command does, and before torch is imported: threads that spin while they wait make tests crawl
# on a machine that others share.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import hypothesis
import pytest
import torch

from parvideo.files import cache_folder
from parvideo.metrics.extractors import i3d_weights
from tests import world

USER_CACHE = cache_folder()
# What is kept of files (checksums) is kept for these tests alone, and for the processes that they start.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="parvideo-tests-")

# A deadline is a time asserted; derandomized examples make a red test red for everyone.
hypothesis.settings.register_profile("parvideo", deadline=None, derandomize=True)
hypothesis.settings.load_profile("parvideo")


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Outputs of published code, which ours must equal; see the README there."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real clips that lies beside the checkout; absent elsewhere."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: its real clips lie beside the checkout only")
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


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos of two classes in UCF-101's layout: eight to train on, four to test."""
    folder = tmp_path_factory.mktemp("toy")
    world.write_videos(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tokenizer of clips 5 x 16 x 16 at 12.5 fps to tokens 3 x 4 x 4 of 9 codes."""
    folder = tmp_path_factory.mktemp("tokenizer")
    world.write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """An untrained generator of those tokens in the order of four spatial regions, for three classes."""
    folder = tmp_path_factory.mktemp("generator")
    world.write_generator(folder / "model", tokenizer_folder, ["Archery", "Bowling", "Surfing"])
    return folder


@pytest.fixture(scope="session")
def tokens_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `parvideo tokenize` leaves: train/ (22 clips), test/ (5), tokenizer/; grid (2, 2, 2), 9 codes."""
    folder = tmp_path_factory.mktemp("tokens")
    world.write_tokens(folder)
    return folder
