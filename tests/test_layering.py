"""Who may import whom: an edge points down or to a base module, and never to a neighbour on its level."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "parvideo"

LEVELS: list[set[str]] = [
    {"clips", "files", "seeds"},  # base: used by all
    {"arrays", "packages", "state"},
    {"datasets", "tokenizer", "order", "metrics", "dependency"},
    {"transformer", "page"},
    {"sampling"},
    {"engine", "fixed"},
    {"pretrained", "bench"},
    {"pipeline"},
    {"training"},
    {"commands"},
    {"cli"},
]
"""Names without what follows an underscore: engine_draw is a file of the engine."""
LIGHTNING = {"training", "commands"}


def part(module: str) -> str:
    """The part of the package that a dotted name lies in: parvideo.training.data -> training."""
    names = module.split(".")
    return names[1].split("_")[0] if len(names) > 1 else "__init__"


def imports(path: Path) -> list[tuple[str, int]]:
    """All modules that a file imports, wherever in the file, with their lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            assert node.module is not None
            if node.module == "parvideo":
                found += [
                    (f"parvideo.{alias.name}", node.lineno) for alias in node.names if alias.name[0] != "_"
                ]
            else:
                found.append((node.module, node.lineno))
    return found


def files() -> list[Path]:
    """Every file but the package's own door, which imports only when a name is asked for."""
    return sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").split("_")[0]


def level(name: str) -> int:
    for height, names in enumerate(LEVELS):
        if name in names:
            return height
    raise AssertionError(f"parvideo.{name} has no level: say in LEVELS what it may import")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_edges_point_down(path: Path) -> None:
    own = own_part(path)
    for module, line in imports(path):
        if module.split(".")[0] != "parvideo":
            continue
        other = part(module)
        allowed = other == own or level(other) < level(own)
        assert allowed, f"{path}:{line}: {own} imports {other}, which is not below it"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lightning_stays_in_training_and_commands(path: Path) -> None:
    if own_part(path) not in LIGHTNING:
        for module, line in imports(path):
            assert module.split(".")[0] not in ("lightning", "pytorch_lightning"), f"{path}:{line}"


def test_the_walk_sees_an_upward_edge(tmp_path: Path) -> None:
    file = tmp_path / "order.py"
    file.write_text("def f():\n    from parvideo.training import data\n")
    assert [(part(module), line) for module, line in imports(file)] == [("training", 2)]
    assert level("training") > level("order")
