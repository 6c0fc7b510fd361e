"""Files: whole or not at all, and named when they are broken."""

from pathlib import Path

import pytest

from parvideo.files import atomic_path, claim_folder, read_json, sha256_file, sha256_json, write_json


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


def test_a_folder_belongs_to_the_settings_it_was_begun_with(tmp_path: Path) -> None:
    record = tmp_path / "made" / "settings.json"
    settings = {"seed": 0, "cut": (1, 2), "scale": None, "hash": "a" * 64}
    claim_folder(record, settings, "clips")
    claim_folder(record, {**settings, "cut": [1, 2]}, "clips")  # JSON knows no tuples
    claim_folder(record, {"seed": 0, "cut": (1, 2), "hash": "a" * 64}, "clips")  # absent is None
    claim_folder(record, {**settings, "seed": 1}, "clips", unknown=["seed"])
    kept = record.read_bytes()
    for change, said in (
        ({"seed": 1}, r"made holds clips made with another seed \(0, now 1\); go on with the same"),
        ({"hash": "b" * 64}, "another hash;"),
        ({"order": "1x4x4"}, r'another order \(null, now "1x4x4"\)'),
        ({"seed": None, "scale": 2.0}, r"another seed \(0, now null\), scale \(null, now 2.0\);"),
    ):
        with pytest.raises(ValueError, match=said):
            claim_folder(record, settings | change, "clips")
    assert record.read_bytes() == kept


@pytest.mark.parametrize("text", ["[]", "1", "{"])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=str(tmp_path)):
        claim_folder(tmp_path / "settings.json", {}, "clips")
