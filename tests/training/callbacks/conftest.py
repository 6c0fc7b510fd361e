"""One finished run that the tests of several callbacks look at."""

from pathlib import Path

import pytest

from parvideo.training.cli import fit
from tests.training.runs import arguments


@pytest.fixture(scope="package")
def run(tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    fit(arguments(tokens_folder, out, "--sample_every=2", "--peak_tflops=0.001", "--ema_decay=0.5"))
    return out
