"""Every ordinary file error is one line with the file's name, exit status 2; a defect of ours is none."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from parvideo import cli
from parvideo.cli import main
from parvideo.files import (
    atomic_path,
    check_file,
    check_target,
    config_folder,
    make_folder,
    read_json,
    write_json,
    write_text,
)
from parvideo.metrics import SmallI3DExtractor
from parvideo.metrics.extractors.i3d import I3DExtractor
from parvideo.metrics.extractors.small_i3d import SmallI3D
from parvideo.metrics.extractors.torchscript import KIND, ScriptedExtractor
from parvideo.metrics.fvd import id_keys
from parvideo.state_dicts import read_safetensors, read_state


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What a command says that ends with status 2: one line."""
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("parvideo: error: ")
    assert error.count("\n") == 1
    return error


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command meet an error."""

    def meet(*_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "run_command", meet)


@pytest.mark.parametrize(
    "number",
    [
        *(
            errno.EROFS,
            errno.EISDIR,
            errno.ENOTDIR,
            errno.ENAMETOOLONG,
            errno.ELOOP,
            errno.EACCES,
            errno.EPERM,
        ),
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTEMPTY, errno.EMFILE, errno.ETXTBSY),
    ],
    ids=errno.errorcode.get,
)
def test_what_the_system_reports_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(OSError(number, os.strerror(number), "/data/a\nb.json"), monkeypatch)
    error = refused(capsys, "order")
    assert os.strerror(number) in error
    assert "/data/a b.json" in error


def test_a_wrong_call_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (
        OSError(errno.EBADF, "Bad file descriptor"),
        TypeError("x"),
        KeyError("x"),
        RuntimeError("x"),
    ):
        raising(error, monkeypatch)
        with pytest.raises(type(error)):
            main(["order"])


def test_an_error_out_of_a_reading_process_is_its_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "Caught FileNotFoundError in DataLoader worker process 0.\n"
        'Original Traceback (most recent call last):\n  File "x.py", line 1, in f\n'
        "FileNotFoundError: [Errno 2] No such file or directory: '/data/a.avi'\n"
    )
    raising(FileNotFoundError(text), monkeypatch)
    error = refused(capsys, "order")
    assert "Traceback" not in error
    assert "No such file or directory: '/data/a.avi'" in error


@pytest.mark.parametrize("length", [1, 100, 240, 255])
@pytest.mark.parametrize("letter", ["a", "é", "字"])
def test_names_as_long_as_the_system_takes(tmp_path: Path, length: int, letter: str) -> None:
    """The temporary name fits where the target's does, in bytes, whatever its letters."""
    stem = letter * ((length - 5) // len(letter.encode()))
    for name in (f"{stem}.json", f"a.{stem}"):
        target = tmp_path / name
        with atomic_path(target) as temporary:
            assert len(os.fsencode(temporary.name)) <= max(len(os.fsencode(name)), 40)
            temporary.write_text("1")
        assert read_json(target) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_that_is_too_long_is_told_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long") as caught:
        write_json(tmp_path / ("a" * 300), 1)
    assert caught.value.filename == str(tmp_path / ("a" * 300))


def test_errors_of_writing_name_the_target_and_never_the_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(target)

    def read_only(**_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / ".a-12345678.json"))

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    for write in (lambda: write_json(target, 1), lambda: check_target(target)):
        with pytest.raises(OSError, match="Read-only") as caught:
            write()
        assert caught.value.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_an_error_about_another_file_keeps_that_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes((tmp_path / "source").read_bytes())
    assert caught.value.filename == str(tmp_path / "source")


def test_folders_where_files_belong_and_files_where_folders_belong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for write in (lambda path: write_json(path, 1), check_target, check_file):
        with pytest.raises(IsADirectoryError):
            write(tmp_path)
    for folder in ("file", "file/inside", "nowhere"):
        with pytest.raises(NotADirectoryError) as caught:
            make_folder(tmp_path / folder)
        assert "file" in caught.value.filename or "nowhere" in caught.value.filename
    with pytest.raises(NotADirectoryError):
        check_file(tmp_path / "file/inside")
    with pytest.raises(FileNotFoundError, match="a link to .*gone, which is not there"):
        check_file(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError, match="symbolic links"):
        check_file(tmp_path / "circle")


def test_a_target_is_checked_without_touching_it(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("old")
    check_target(tmp_path / "a.npz")
    check_target(tmp_path / "new/b.npz")
    assert (tmp_path / "a.npz").read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.npz", "new"]


def test_nobody_waits_at_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.json"))
        for name, kind in (("pipe.json", "a pipe"), ("socket.json", "a socket")):
            error = refused(capsys, "compare-reports", tmp_path / name, tmp_path / name)
            assert name in error
            assert kind in error
            with pytest.raises(ValueError, match=kind):
                I3DExtractor(tmp_path / name)


def test_names_that_are_no_text_are_printed_and_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.json")
    write_json(tmp_path / name, {"video": name})
    assert read_json(tmp_path / name) == {"video": name}
    assert len(set(id_keys([name, "café.json"]).tolist())) == 2
    code = (
        "from parvideo import cli\n"
        "def say(name, words):\n    print(words[0])\n    raise FileNotFoundError(2, 'none', words[0])\n"
        "cli.run_command = say\nraise SystemExit(cli.main(['order', 'caf\\udce9']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b"caf\\udce9\n"
    assert done.stderr == b"parvideo: error: none: caf\\udce9\n"


def test_a_mark_of_byte_order_before_json_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}
    write_text(tmp_path / "b.txt", "é")
    assert (tmp_path / "b.txt").read_bytes() == "é".encode()


@pytest.mark.parametrize("content", [b"", b"{", b"<!DOCTYPE html>", b"\xff\xfe\x00", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "report.json"])
def test_broken_json_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    if name == "report.json":
        error = refused(capsys, "compare-reports", tmp_path / name, tmp_path / name)
    else:
        error = refused(capsys, "sample", "--model", tmp_path, "--out", tmp_path / "out")
    assert str(tmp_path / name) in error


def test_reports_that_lack_what_is_compared_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.json", "b.json"):
        write_json(tmp_path / name, {"kind": "parvideo-fvd-report", "metric": "FVD"})
    assert "a.json" in refused(capsys, "compare-reports", tmp_path / "a.json", tmp_path / "b.json")


class _Other(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class _Fails(nn.Module):
    def forward(
        self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> Tensor:
        return x.reshape(7, 1000003)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_wrong_weights_of_i3d_are_named(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("empty.pt", "page.pt", "lfs.pt", "cut.pt", "cut.safetensors")}
    files["empty.pt"].touch()
    files["page.pt"].write_text("<!DOCTYPE html><html>404</html>")
    files["lfs.pt"].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    torch.save({"a": torch.zeros(999)}, files["cut.pt"])
    save_file({"a": torch.zeros(999)}, files["cut.safetensors"])
    for name in ("cut.pt", "cut.safetensors"):
        files[name].write_bytes(files[name].read_bytes()[:-99])
    files["other.pt"], files["list.pt"], files["odd.pt"] = (
        tmp_path / f"{n}.pt" for n in ("other", "list", "odd")
    )
    torch.save({"a": torch.zeros(999)}, files["other.pt"])
    torch.save([1, 2], files["list.pt"])
    torch.save({1: torch.zeros(1), "a": torch.zeros(1)}, files["odd.pt"])
    files["script.pt"] = tmp_path / "script.pt"
    torch.jit.script(_Other()).save(files["script.pt"])
    for name, path in files.items():
        with pytest.raises(ValueError, match=name):
            I3DExtractor(path)
    with pytest.raises(ValueError, match="web page"):
        I3DExtractor(files["page.pt"])
    with pytest.raises(ValueError, match="Git LFS"):
        read_state(files["lfs.pt"])
    with pytest.raises(ValueError, match="it is empty"):
        read_safetensors(files["empty.pt"])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_networks_that_give_something_else_are_named(tmp_path: Path) -> None:
    clips = np.zeros((1, 9, 16, 16, 3), np.uint8)
    torch.jit.script(_Fails()).save(tmp_path / "fails.pt")
    with pytest.raises(ValueError, match=r"fails\.pt holds another network: it fails on clips"):
        I3DExtractor(tmp_path / "fails.pt")(clips)
    torch.jit.script(_Other()).save(tmp_path / "network.pt")
    config = {"kind": KIND, "name": "x", "dim": 3, "min_frames": 1, "size": 8, "logits": False}
    write_json(tmp_path / "config.json", {**config, "mean": [0, 0, 0], "std": [1, 1, 1]})
    with pytest.raises(ValueError, match=r"network\.pt holds another network: it gave tuple"):
        ScriptedExtractor(tmp_path)(clips)
    (tmp_path / "network.pt").write_bytes((tmp_path / "network.pt").read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"network\.pt"):
        ScriptedExtractor(tmp_path)


def test_a_judge_that_is_damaged_is_named(tmp_path: Path) -> None:
    SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=32).save(tmp_path)
    weights, config = tmp_path / "weights.safetensors", tmp_path / "config.json"
    whole, described = weights.read_bytes(), json.loads(config.read_text())
    for content in (b"", whole[:100], whole[:-4], b"<html>", b"\0" * 64):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match="weights.safetensors"):
            SmallI3DExtractor.load(tmp_path)
    weights.write_bytes(whole)
    for change in (
        {"network": None},
        {"network": {"num_classes": "2"}},
        {"frames": None},
        {"network": {"x": 1}},
    ):
        write_json(config, {**described, **change})
        with pytest.raises(ValueError, match="config.json"):
            SmallI3DExtractor.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "config.yaml is no YAML: expected ',' or ']'"),
        (b"\xff\xfe", "config.yaml is no YAML"),
        (None, "config.yaml"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    path = tmp_path / "config.yaml"
    if content is None:
        os.mkfifo(path)  # it must not be waited for
    else:
        path.write_bytes(content)
    for words in (["--config", str(path)], [f"--config={path}"]):
        assert main(["fit", *words, "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_option_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(config_folder() / "demo" / "generator.yaml")
    assert main(["fit", "--config", config, "--model.dimm", "3", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "'dimm' is not accepted" in error
    assert error.count("\n") == 1
