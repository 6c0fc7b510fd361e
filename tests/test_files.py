"""Files: whole or not at all, and named when they are broken."""

from pathlib import Path

import pytest

from parvideo.files import atomic_path, read_json, sha256_file, sha256_json, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})

    def fail_halfway() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half of")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert read_json(target) == {"old": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_the_target_appears_only_when_the_write_is_done(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "clip.mp4"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"1234")
        assert not target.exists()
        assert temporary.suffix == ".mp4"
    assert target.read_bytes() == b"1234"


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_malformed_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{'a': 1}")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        read_json(path)


def test_hashes_follow_content_not_form(tmp_path: Path) -> None:
    for name, content in [("a", b"x"), ("b", b"x"), ("c", b"y")]:
        (tmp_path / name).write_bytes(content)
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b") != sha256_file(tmp_path / "c")
    assert (
        sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1}) != sha256_json({"a": 1, "b": [3]})
    )
