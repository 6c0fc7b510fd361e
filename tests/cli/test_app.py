"""`parvideo app`: mistakes are one line at once, and no other command loads Gradio."""

import importlib.util
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from parvideo.cli import main

GRADIO = importlib.util.find_spec("gradio") is not None
needs_gradio = pytest.mark.skipif(not GRADIO, reason="the extra `app` is not installed")


def test_without_gradio_the_error_says_how_to_get_it(
    generator_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["app", str(generator_folder)]) == 2
    assert capsys.readouterr().err == (
        "parvideo: error: the page needs Gradio, which is not installed: pip install 'parvideo[app]'\n"
    )


@needs_gradio
def test_what_is_no_generator_is_refused_in_a_line(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, error in ((tmp_path / "none", "there is no folder"), (tokenizer_folder, "holds a tokenizer")):
        assert main(["app", str(folder)]) == 2
        said = capsys.readouterr().err
        assert error in said
        assert said.count("\n") == 1


@needs_gradio
def test_a_port_that_is_taken_is_named(generator_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", str(generator_folder), "--port", str(port)]) == 2
    assert str(port) in capsys.readouterr().err


def test_help_and_other_commands_load_neither_gradio_nor_the_hub() -> None:
    code = (
        "import sys\nfrom parvideo.cli import main\nmain(['--help'])\n"
        "import parvideo.cli.app, parvideo.cli.push, parvideo.pipeline, parvideo.jobs.sample\n"
        "print(sorted({'gradio', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
@needs_gradio
def test_the_command_serves_until_it_is_interrupted(generator_folder: Path) -> None:
    words = [sys.executable, "-m", "parvideo.cli", "app", str(generator_folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split(" at ")[1].split()[0]
        with urllib.request.urlopen(address) as answer:
            assert b"parvideo" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
