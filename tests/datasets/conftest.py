"""Shared by the tests of data sets: UCF-101 as it is named, and a cache that is nobody else's."""

from pathlib import Path

import pytest

from parvideo.datasets import metadata_cache as store
from tests.datasets.cases import touch, write_lists


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    """Three classes whose sorted order is not the index's, with HandstandPushups' files as they are named."""
    write_lists(
        tmp_path / "ucfTrainTestlist",
        classInd="1 Hammering\r\n2 HammerThrow\r\n3 HandstandPushups\r\n\r\n",
        trainlist01=(
            "Hammering/v_Hammering_g08_c01.avi 1\r\nHammerThrow/v_HammerThrow_g08_c01.avi 2\r\n"
            "HandstandPushups/v_HandStandPushups_g08_c01.avi 3\r\n"
            "HandstandPushups/v_HandStandPushups_g08_c02.avi 3\r\n"
        ),
        testlist01="Hammering/v_Hammering_g01_c01.avi\r\nHandstandPushups/v_HandStandPushups_g01_c01.avi\r\n",
    )
    root = tmp_path / "UCF-101"
    for name in ("trainlist01", "testlist01"):
        lines = (tmp_path / "ucfTrainTestlist" / f"{name}.txt").read_text().split()
        touch(root, *(word for word in lines if "/" in word))
    return root


@pytest.fixture
def kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of files is kept for one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(store, "_seen", {})
    monkeypatch.setattr(store, "_SETTLED", -1)  # the files of a test are young
