"""The tests' tree is the package's: `parvideo/a/b.py` is tested in `tests/a/test_b.py`."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

from tools.draw_architecture import PACKAGE, ROOT, package_files

TESTS = ROOT / "tests"
BESIDE = {"properties", "slow", "tools"}
"""Folders of tests that mirror no part of the package: what crosses modules, long proofs, the tools."""
SMALL = 40
"""A module of so many lines of code may be tested through those that use it."""


def lines_of_code(path: Path) -> int:
    """Lines that hold more than a comment or a docstring."""
    text = path.read_text(encoding="utf-8")
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def mirror(path: Path) -> Path:
    """Where a module's tests lie, both relative to their roots."""
    return path.parent / f"test_{path.name}"


MODULES = [path.relative_to(PACKAGE) for path in package_files() if not path.name.startswith("__")]
FILES = [path.relative_to(TESTS) for path in sorted(TESTS.rglob("test_*.py"))]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_tests(module: Path) -> None:
    if lines_of_code(PACKAGE / module) <= SMALL:
        return
    assert mirror(module) in FILES, f"parvideo/{module} has no tests/{mirror(module)}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_of_tests_has_its_module(file: Path) -> None:
    """Or it tests a whole folder's door: `tests/cli/test_cli.py`."""
    if file.parts[0] in BESIDE:
        return
    module = file.parent / file.name.removeprefix("test_")
    door = file.parent / "__init__.py"
    assert module in MODULES or (file.stem == f"test_{file.parent.name}" and (PACKAGE / door).is_file()), (
        f"tests/{file} tests no module of that name: name it after one, or move it to tests/properties"
    )


def test_docstrings_and_comments_are_no_code(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    text = '"""Two\nlines."""\n\n# a comment\nx = [\n    1,\n]\n\n\ndef f():\n    """Why."""\n    return x\n'
    path.write_text(text)
    assert lines_of_code(path) == 5
