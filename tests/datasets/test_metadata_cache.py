"""What is kept of files: as good as asking again, with or without a store."""

from pathlib import Path

import pytest

from parvideo.datasets import identity as module
from parvideo.datasets import metadata_cache as store
from parvideo.datasets.identity import content_hashes, identity
from parvideo.files import sha256_file
from tests.datasets.cases import restart, videos_of

pytestmark = pytest.mark.usefixtures("kept_apart")


def test_a_file_that_may_still_change_within_a_tick_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SETTLED", 10**18)
    videos = videos_of(tmp_path / "x")
    identity(videos)
    restart(monkeypatch)
    read = []
    monkeypatch.setattr(module, "sha256_file", lambda path: read.append(path) or "x")
    identity(videos)
    assert len(read) == 3


@pytest.mark.parametrize("damage", ["garbage", "no folder", "empty"])
def test_without_a_store_the_answer_is_the_same(tmp_path: Path, damage: str) -> None:
    videos = videos_of(tmp_path / "x")
    if damage == "no folder":
        (tmp_path / "user").write_text("a file where the cache folder should be")
    else:
        (tmp_path / "user/parvideo").mkdir(parents=True)
        content = b"no database at all" * 100 if damage == "garbage" else b""
        (tmp_path / "user/parvideo/files.sqlite").write_bytes(content)
    paths = [record.path for record in videos.records]
    assert content_hashes(paths) == [sha256_file(path) for path in paths]
