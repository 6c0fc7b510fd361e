"""Models on the Hub, against a server on localhost: one commit, safetensors only, nothing silent offline."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from parvideo.pipeline import VideoPipeline
from parvideo.pretrained import hub
from parvideo.pretrained.folder import find_folder, fingerprint, load_tokenizer, model_files
from tests.hub_server import Hub, serve

library = pytest.importorskip("huggingface_hub.constants", reason="the extra `hub` is not installed")
REPO = "someone/tiny"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub, and an empty cache of this user."""
    with serve() as running:
        running.use(monkeypatch, tmp_path / "hub-cache")
        yield running


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in model_files(folder).items()}


def test_a_pushed_model_comes_back_the_same_and_says_of_which_commit_it_is(
    server: Hub, generator_folder: Path, tmp_path: Path
) -> None:
    pushed = hub.push(
        {**model_files(generator_folder), "README.md": b"# tiny"}, hub.HubModel("me/tiny"), False, "first"
    )
    assert re.fullmatch(r"me/tiny@[0-9a-f]{40}", pushed)
    assert any(path.startswith("PUT /store/") for path in server.asked), (
        "weights go by the way of large files"
    )
    pipe, own = VideoPipeline.from_pretrained("me/tiny"), VideoPipeline.from_pretrained(generator_folder)
    assert torch.equal(pipe.generate(["Archery"], seed=3), own.generate(["Archery"], seed=3))
    assert fingerprint("me/tiny") == fingerprint(generator_folder)
    assert hub.origin(find_folder("me/tiny")) == pushed
    assert hub.origin(generator_folder) is None
    pipe.save_pretrained(tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["extra"]["source"] == pushed
    assert fingerprint(tmp_path / "copy") == fingerprint(generator_folder)


def test_a_revision_is_pinned_and_the_main_branch_resolved_once(server: Hub, generator_folder: Path) -> None:
    first = server.commit(REPO, files_of(generator_folder))
    server.tags[REPO] = {"v1": first}
    names = json.dumps(["A", "B", "C"]).encode()
    assert VideoPipeline.from_pretrained(REPO).class_names[0] == "Archery"
    second = server.commit(REPO, {"classes.json": names})
    asked = len(server.asked)
    assert VideoPipeline.from_pretrained(REPO).class_names[0] == "Archery", "one commit in one process"
    assert len(server.asked) == asked
    hub.fetch.cache_clear()
    assert VideoPipeline.from_pretrained(REPO).class_names == ["A", "B", "C"]
    assert hub.origin(find_folder(REPO)) == f"{REPO}@{second}"
    for revision in ("v1", first):
        assert VideoPipeline.from_pretrained(REPO, revision=revision).class_names[0] == "Archery"
        assert hub.origin(find_folder(f"{REPO}@{revision}")) == f"{REPO}@{first}"
    with pytest.raises(FileNotFoundError, match="someone/tiny on the Hub has no revision v9"):
        find_folder(REPO, "v9")


def test_nothing_but_the_model_s_own_files_is_fetched(server: Hub, generator_folder: Path) -> None:
    others = {
        "train.py": b"1/0",
        "optimizer.pt": b"pickle",
        "samples/clip.mp4": b"0",
        "tokenizer/x.bin": b"0",
    }
    server.commit(REPO, {**files_of(generator_folder), **others})
    folder = find_folder(REPO)
    fetched = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert fetched == set(model_files(generator_folder))
    assert not [path for path in server.asked if any(path.endswith(name) for name in others)]


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_weights_in_a_pickle_are_refused_before_they_are_fetched(server: Hub, pickle: str) -> None:
    server.commit(REPO, {"config.json": b"{}", pickle: b"cos\nsystem\n"})
    with pytest.raises(ValueError, match=f"has its weights as {pickle}.*safetensors only"):
        VideoPipeline.from_pretrained(REPO)
    assert not [path for path in server.asked if path.endswith(pickle)]
    with pytest.raises(ValueError, match="only safetensors, JSON and Markdown"):
        hub.push({pickle: b"0"}, hub.HubModel(REPO), False, "no")


def test_another_library_s_model_is_refused(server: Hub) -> None:
    server.commit(REPO, {"config.json": b"{}", "model.safetensors": b"0"})
    with pytest.raises(
        ValueError, match="no model of parvideo: it lacks weights.safetensors, and holds config"
    ):
        find_folder(REPO)


def test_a_folder_here_wins_and_has_no_revision(
    server: Hub, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "someone").mkdir()
    (tmp_path / "someone" / "tiny").symlink_to(tokenizer_folder)
    monkeypatch.chdir(tmp_path)
    assert load_tokenizer(REPO).codebook_size == 9
    assert server.asked == []
    with pytest.raises(ValueError, match="revision is 'v1', but someone/tiny lies on this disk"):
        find_folder(REPO, "v1")


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "/a/b", "../a", "a/b@"])
def test_what_can_be_no_name_on_the_hub_is_not_asked_for(server: Hub, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no folder .* and no model on the Hub is called so"):
        find_folder(name)
    assert server.asked == []


def test_a_name_that_is_neither_gets_an_error_that_says_both(server: Hub) -> None:
    with pytest.raises(
        FileNotFoundError, match="runs/typo is neither a folder here .* nor a model on the Hub"
    ):
        find_folder("runs/typo")


def test_offline_the_error_names_the_local_way_and_a_pinned_commit_works(
    server: Hub, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = server.commit(REPO, files_of(generator_folder))
    find_folder(REPO)
    hub.fetch.cache_clear()
    monkeypatch.setattr(library, "HF_HUB_OFFLINE", True)
    asked = len(server.asked)
    with pytest.raises(
        ConnectionError, match=rf"cannot be reached .* model folder on this disk.*{REPO}@{sha}"
    ):
        find_folder(REPO)
    assert find_folder(REPO, sha) == find_folder(f"{REPO}@{sha}")
    with pytest.raises(ConnectionError, match="model folder on this disk, such as runs/NAME$"):
        find_folder("someone/other")
    assert len(server.asked) == asked


def test_a_commit_that_was_fetched_in_part_is_not_taken_for_whole(
    server: Hub, generator_folder: Path
) -> None:
    sha = server.commit(REPO, files_of(generator_folder))
    folder = find_folder(REPO)
    (folder / "tokenizer" / "weights.safetensors").unlink()
    hub.fetch.cache_clear()
    asked = len(server.asked)
    assert find_folder(REPO, sha) == folder
    assert len(server.asked) > asked
    assert set(files_of(folder)) == set(model_files(generator_folder))


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fetch.cache_clear()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        FileNotFoundError, match=r"no folder someone/tiny here.*pip install 'parvideo\[hub\]'"
    ):
        find_folder(REPO)


def test_a_repository_of_somebody_else_cannot_be_pushed_to(server: Hub, generator_folder: Path) -> None:
    server.locked.add("someone")
    with pytest.raises(PermissionError, match="hf auth login"):
        hub.push(model_files(generator_folder), hub.HubModel(REPO), False, "no")
