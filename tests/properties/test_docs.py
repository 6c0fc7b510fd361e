"""What README and docs say: commands parse, paths are there, examples run, the layers are those tested."""

import importlib
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from parvideo.cli import COMMANDS, parse_arguments
from parvideo.files import config_folder
from parvideo.metrics.extractors.inception_i3d import InceptionI3d
from parvideo.training.cli import FitCLI, _underscored
from tools.draw_architecture import LAYERS, draw

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
REDRAW = "docs/pictures/architecture.svg is of another tree; run `python -m tools.draw_architecture`"
TEXT = (DOCS / "fvd.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = blocks("python")
    torch.manual_seed(0)
    save_file(InceptionI3d().state_dict(), tmp_path / "i3d.safetensors")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "real.npy", rng.integers(0, 256, (2, 9, 32, 32, 3), dtype=np.uint8))
    (tmp_path / "samples").mkdir()
    np.savez(
        tmp_path / "samples/clips-00000.npz", clips=rng.integers(0, 200, (2, 9, 32, 32, 3), dtype=np.uint8)
    )
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    there = runpy.run_path("example.py")
    assert there["metric"].compute().dtype == torch.float64
    assert "real_count=2, fake_count=2" in capsys.readouterr().out


def commands() -> list[tuple[str, str]]:
    """(page, command) for every line of a page's code blocks, or prompt, that runs parvideo."""
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.strip().removeprefix("$ ").removeprefix("srun ").removeprefix(".venv/bin/")
                if words.startswith("parvideo ") and "--help" not in words:
                    found.append((page.name, words))
    return found


class OnlyParsed(FitCLI):
    """`parvideo fit` as far as its options: nothing is built and nothing trained."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass


def placed(words: list[str]) -> list[str]:
    """A command's words, configs found wherever the tests run."""
    return [str(config_folder().parent / word) if word.startswith("configs/") else word for word in words]


@pytest.mark.parametrize(("page", "line"), [one for one in commands() if " fit " not in one[1]])
def test_the_commands_take_their_options(page: str, line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    function = getattr(importlib.import_module(COMMANDS[name]), name.replace("-", "_"))
    positional, options = parse_arguments(name, function, words)
    assert positional or options


@pytest.mark.parametrize(("page", "line"), [one for one in commands() if " fit " in one[1]])
def test_fit_takes_its_options(page: str, line: str) -> None:
    _, _, *words = shlex.split(line.replace("...", ""), comments=True)
    words = placed(words)
    assert any(word.startswith("--config") for word in words)
    assert OnlyParsed(_underscored(words)).config


def test_every_path_named_is_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
        for path in re.findall(r"`((?:parvideo|configs|docs|tests|tools|data)/[\w./-]+)", text):
            assert (ROOT / path.rstrip(".")).exists(), f"{page.name} names {path}"
        for module in re.findall(r"python -m (tools[\w.]+)", text):
            path = ROOT / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), f"{page.name} runs {module}"
        for module in re.findall(r"`(parvideo(?:\.\w+)+)`", text):
            assert resolves(module), f"{page.name} names {module}"


def resolves(name: str) -> bool:
    """Whether a dotted name is that of a module, or of what a module holds."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            there: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(there, part):
                return False
            there = getattr(there, part)
        return True
    return False


def test_the_layers_of_the_architecture_are_those_that_are_tested() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text, flags=re.MULTILINE)
    found = {
        int(height): [name.rstrip("/") for name in re.findall(r"`(\w+/?)`", names)] for height, names in rows
    }
    assert found == dict(enumerate(LAYERS))


def test_the_picture_of_the_layers_is_drawn_from_this_tree(tmp_path: Path) -> None:
    draw(tmp_path / "now.svg")
    shown = (DOCS / "pictures" / "architecture.svg").read_text(encoding="utf-8")
    now = (tmp_path / "now.svg").read_text(encoding="utf-8")
    assert sorted(re.findall(r">([^<>]+)</text>", now)) == sorted(re.findall(r">([^<>]+)</text>", shown)), (
        REDRAW
    )
    assert now.count("<path") == shown.count("<path"), REDRAW


def test_the_one_liner_prints_every_field_of_a_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r'`python -c "(.*?)"`', TEXT)
    exec(code, {})
    assert "clip_policy='non-overlapping'" in capsys.readouterr().out


def test_the_page_of_the_commands_has_them_all() -> None:
    rows = re.findall(
        r"^\| (`.*?) \|", (DOCS / "commands.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    named = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(named) == sorted(COMMANDS)


def test_the_parts_stand_alone() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    (shape,) = re.findall(r"-> int64 \[B, ([\d, ]+)\]", code)
    there = {"labels": torch.tensor([3])}
    exec(code, there)
    assert list(there["tokens"].shape) == [1, *map(int, shape.split(","))]
    assert there["tokens"].dtype == torch.int64


def test_there_are_commands_to_try() -> None:
    names = {line.split()[1] for _, line in commands()}
    assert names >= {"fit", "tokenize", "sample", "evaluate", "compare-reports", "fvd-stats", "bench", "data"}
