"""One finished run that tests of resuming begin with; none of them changes it."""

from pathlib import Path

import pytest

from parvideo.training.cli import fit
from tests.training.runs import resumable_arguments


@pytest.fixture(scope="package")
def finished(tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps."""
    out = tmp_path_factory.mktemp("finished")
    fit(resumable_arguments(tokens_folder, out, 4))
    return out
