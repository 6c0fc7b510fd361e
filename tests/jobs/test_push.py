"""`parvideo push` and models by owner/name on the command line, against a Hub on localhost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from parvideo.cli import main
from parvideo.pretrained import hub
from parvideo.pretrained.folder import model_files
from tests.hub_server import Hub, serve

library = pytest.importorskip("huggingface_hub.constants", reason="the extra `hub` is not installed")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub, and an empty cache of this user."""
    with serve() as running:
        running.use(monkeypatch, tmp_path / "hub-cache")
        yield running


def test_push_and_sample_by_name(
    server: Hub, generator_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["push", str(generator_folder), "me/tiny", "--data", "synthetic", "--license", "apache-2.0"]
    assert main([*words, "--limit", "It is tiny.", "--dry-run"]) == 0
    card = capsys.readouterr().out
    assert server.asked == []
    assert main([*words, "--limit", "It is tiny."]) == 0
    pushed = capsys.readouterr().out.strip()
    files = server.commits["me/tiny"][-1][1]
    assert set(files) == {*model_files(generator_folder), "README.md"}
    assert files["README.md"].decode() == card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "apache-2.0"

    out = tmp_path / "clips"
    sample = ["sample", "--class", "Archery", "--out", str(out), "--accelerator", "cpu", "--model"]
    assert main([*sample, "me/tiny"]) == 0
    record = json.loads((out / "sample.json").read_text())
    assert record["source"] == pushed
    local = tmp_path / "local"
    sample[4] = str(local)
    assert main([*sample, str(generator_folder)]) == 0
    assert "source" not in json.loads((local / "sample.json").read_text())
    assert (out / "clips-00000.npz").read_bytes() == (local / "clips-00000.npz").read_bytes()
    # The same weights from elsewhere go on with the folder; what they are decides, not where they came from.
    sample[4] = str(out)
    assert main([*sample, str(generator_folder)]) == 0


def test_tokens_and_reconstructions_say_where_their_tokenizer_came_from(
    server: Hub, tokenizer_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    pushed = hub.push(model_files(tokenizer_folder), hub.HubModel("me/tok"), False, "first")
    videos = str(toy_folder)
    assert main(["tokenize", "--tokenizer", "me/tok", "--data", videos, "--out", str(tmp_path / "t")]) == 0
    copy = json.loads((tmp_path / "t" / "tokenizer" / "config.json").read_text())
    assert copy["extra"]["source"] == pushed
    video = str(next(toy_folder.rglob("*.avi")))
    assert main(["reconstruct", video, "--tokenizer", pushed, "--out", str(tmp_path / "r")]) == 0
    assert json.loads((tmp_path / "r" / "reconstruct.json").read_text())["tokenizer"] == pushed


def test_a_card_that_was_written_is_kept(
    server: Hub, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in model_files(tokenizer_folder).items():
        (tmp_path / name).write_bytes(path.read_bytes())
    (tmp_path / "README.md").write_text("by hand")
    assert main(["push", str(tmp_path), "me/tok"]) == 0
    assert server.commits["me/tok"][-1][1]["README.md"] == b"by hand"
    assert main(["push", str(tmp_path), "me/tok", "--data", "synthetic"]) == 2
    assert "README.md is the card" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["push", "nowhere", "me/tiny"], "there is no folder nowhere"),
        (["push", "{model}", "tiny"], "name is 'tiny'; a model on the Hub is called owner/name"),
        (["push", "{model}", "other/tiny"], "hf auth login"),
        (["sample", "--model", "me/none", "--out", "x"], "neither a folder here"),
    ],
)
def test_mistakes_are_one_line(
    server: Hub, generator_folder: Path, words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.locked.add("other")
    assert main([word.format(model=generator_folder) for word in words]) == 2
    said = capsys.readouterr().err
    assert error in said
    assert said.count("\n") == 1
