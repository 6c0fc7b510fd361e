"""The command line: quick to help, clear about mistakes."""

import argparse
import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from parvideo.cli import COMMANDS, main, summary
from tests.flat import option_names

HEAVY = {
    "torch",
    "lightning",
    "numpy",
    "scipy",
    "av",
    "decord",
    "PIL",
    "torchmetrics",
    "safetensors",
    "einops",
}


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, parvideo\nfrom parvideo.cli import main\n"
        f"try:\n    status = main({words})\nexcept SystemExit as leaving:\n    status = leaving.code\n"
        f"heavy = {HEAVY} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS) or words[0] in COMMANDS


def test_the_short_help_of_fit_has_all_that_its_parser_adds(capsys: pytest.CaptureFixture[str]) -> None:
    from lightning.pytorch.cli import LightningArgumentParser

    from parvideo.training.cli import FitCLI

    with pytest.raises(SystemExit):
        main(["fit", "--config", "a.yaml", "--help"])
    shown = capsys.readouterr().out
    parser = LightningArgumentParser()
    parser.add_argument("--trainer.default_root_dir", type=str)
    parser.add_argument("--trainer.max_steps", type=int)
    parser.add_argument("--model.init_args.max_steps", type=int)
    FitCLI.add_arguments_to_parser(FitCLI.__new__(FitCLI), parser)
    shown_actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    added = [option for action in shown_actions for option in action.option_strings]
    own = [name for name in added if name.startswith("--") and "." not in name]
    assert {"--out", "--resume", "--print_costs"} <= set(own)
    assert all(name in shown for name in own), shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_documented_function(name: str) -> None:
    function = getattr(importlib.import_module(COMMANDS[name]), name.replace("-", "_"))
    assert inspect.isfunction(function)
    described = [function]
    for one in described:  # grows: dataclasses have fields, which are options too
        documentation = inspect.getdoc(one) or ""
        for parameter in inspect.signature(one, eval_str=True).parameters.values():
            assert f"{parameter.name}:" in documentation
            if dataclasses.is_dataclass(parameter.annotation):
                described.append(parameter.annotation)


def test_the_overview_has_the_first_line_of_each_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    for name, module in COMMANDS.items():
        head = (importlib.import_module(module).__doc__ or "").splitlines()[0]
        assert head.startswith(f"`parvideo {name}`: ")
        assert f"{summary(name)}\n" in shown
        assert summary(name) in head


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([name, "--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    assert f"parvideo {name}" in shown


def test_no_command_module_is_left_out() -> None:
    folder = Path(importlib.import_module("parvideo.cli").__path__[0])
    listed = {module.rsplit(".", 1)[1] for module in COMMANDS.values()}
    for path in folder.glob("*.py"):
        tree = path.read_text()
        if f"\ndef {path.stem}(" in tree:
            assert path.stem in listed, f"{path.stem} is a command that COMMANDS does not list"


LIGHT = {
    "parvideo.benchmark.options",
    "parvideo.checks",
    "parvideo.jobs.clip_format_options",
    "parvideo.jobs.generation_options",
    "parvideo.jobs.options",
    "parvideo.jobs.protocol_options",
}
"""Of the package, what a command may import before it is called: what its signature is made of."""


def imported_at_once(text: str) -> set[str]:
    """What a module imports outside functions, the standard library left out."""
    names: list[str] = []
    for node in ast.parse(text).body:
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("module", [*COMMANDS.values(), *sorted(LIGHT)])
def test_a_commands_module_is_short_and_imports_nothing_before_it_is_called(module: str) -> None:
    text = Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8")
    assert module in LIGHT or len(text.splitlines()) < 100
    assert imported_at_once(text) <= LIGHT


def test_near_names_are_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smaple"]) == 2
    error = capsys.readouterr().err
    assert error == "parvideo: error: there is no command 'smaple'; did you mean sample?\n"


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--model", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / "none") in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sample", "--model", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--debug"]
    assert main(arguments) == 2
    assert "Traceback" in capsys.readouterr().err


def test_what_sample_can_evaluate_can_and_names_are_the_same() -> None:
    def options(name: str) -> set[str]:
        function = getattr(importlib.import_module(COMMANDS[name]), name.replace("-", "_"))
        return option_names(function)

    assert "generation" in options("sample") & options("evaluate")
    for name in set(COMMANDS) - {"fit"}:
        assert not options(name) & {"layers", "heads", "vocabulary", "classes", "batch", "guidance"}, name
