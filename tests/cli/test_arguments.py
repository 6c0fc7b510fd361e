"""A function as a command line: words are what they say, and what does not parse is said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from parvideo.cli import main
from parvideo.cli.arguments import parse_arguments


def example(
    files: list[Path],
    /,
    class_: list[str] | None = None,
    num_per_class: int = 1,
    flip: bool = False,
    mode: Literal["a", "b"] = "a",
    folder: Path | None = None,
) -> None:
    """Do something.

    Args:
        files: the files.
        class_: class; may be repeated.
        num_per_class: how many.
        flip: mirror.
        mode: which.
        folder: where.
    """


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x y --class A --class 37", {"class_": ["A", "37"]}),
        ("x y --class=A", {"class_": ["A"]}),
        ("x y --class [A,B] --class a,b", {"class_": ["[A,B]", "a,b"]}),
        ("x y --class null --class ~ --class #tag", {"class_": ["null", "~", "#tag"]}),
        ("x y --class 1e3 --class=true --class 010", {"class_": ["1e3", "true", "010"]}),
        ("x y --class=--class", {"class_": ["--class"]}),
        ("x y --num-per-class 010", {"num_per_class": 10}),
        ("x y --num-per-class 18446744073709551617", {"num_per_class": 2**64 + 1}),
        ("x y --num-per-class 3", {"num_per_class": 3}),
        ("x y --num_per_class=3", {"num_per_class": 3}),
        ("x y --flip", {"flip": True}),
        ("x y --no-flip --mode b", {"flip": False, "mode": "b"}),
    ],
)
def test_spellings(line: str, expected: dict[str, object]) -> None:
    positional, options = parse_arguments("example", example, line.split())
    assert positional == [[Path("x"), Path("y")]]
    assert expected.items() <= options.items()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x --mode c", "--mode: 'c' is none of a, b"),
        ("x --num-per-class many", "--num-per-class: 'many' is no whole number"),
        ("x --num-per-class 1e3", "--num-per-class: '1e3' is no whole number"),
        ("x --num-per-class null", "--num-per-class: 'null' is no whole number"),
        ("x --num 3", "--num 3"),  # no abbreviations: they change when an option is added
        ("x --nonsense 1", "--nonsense"),
        ("", "files"),
    ],
)
def test_what_does_not_parse_exits_with_2(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse_arguments("example", example, line.split())
    assert leaving.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["null", "10", "[a]", "{b: 1}", "1e3", "true", "#c", "a,b", "1:30"])
def test_a_path_is_what_it_says(name: str) -> None:
    (files,), options = parse_arguments("example", example, [name, name, f"--folder={name}"])
    assert files == [Path(name)] * 2
    assert options["folder"] == Path(name)


def test_a_home_is_found_and_nothing_is_no_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (files,), options = parse_arguments("example", example, ["~/a", "--folder=~/b"])
    assert (files, options["folder"]) == ([tmp_path / "a"], tmp_path / "b")
    with pytest.raises(SystemExit):
        parse_arguments("example", example, ["x", "--folder", ""])


@dataclass(frozen=True)
class Group:
    """A group.

    Attributes:
        seed: of it.
        order: its name.
    """

    seed: int = 0
    order: str | None = None


def grouped(out: Path, group: Group = Group()) -> None:
    """Do something.

    Args:
        out: a folder.
        group: more.
    """


def test_the_fields_of_a_group_are_options_with_their_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_arguments("grouped", grouped, ["--out", "x"]) == ([], {"out": Path("x"), "group": Group()})
    _, options = parse_arguments("grouped", grouped, ["--out=x", "--order", "1x4x4", "--seed=7"])
    assert options["group"] == Group(7, "1x4x4")
    with pytest.raises(SystemExit):
        parse_arguments("grouped", grouped, ["--help"])
    shown = capsys.readouterr().out
    assert "its name." in shown
    assert "--group" not in shown


@pytest.mark.parametrize(("old", "new"), [("--batch", "--batch-size"), ("--vocabulary=9", "--codebook-size")])
def test_an_old_name_says_the_new_one(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", old, "1"]) == 2
    assert f"it is called {new}\n" in capsys.readouterr().err
