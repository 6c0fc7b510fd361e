"""Draw docs/pictures/architecture.svg: the package's rooms in their layers, and who imports whom.

    python -m tools.draw_architecture

The edges are read from the files, so the picture cannot say what is not so.
`tests/properties/test_layering.py` takes the layers from here and fails on an edge that points elsewhere.
"""

import argparse
import ast
from collections.abc import Iterable
from pathlib import Path

from tools.plotting import new_figure, save_figure

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "parvideo"

LAYERS: list[list[str]] = [
    ["version", "files", "progress"],
    ["checks", "pixels", "arrays", "state_dicts", "packages"],
    ["order", "datasets", "tokenizer", "metrics"],
    ["transformer", "synthetic"],
    ["sampling"],
    ["engine", "pretrained"],
    ["pipeline"],
    ["evaluation", "training", "benchmark"],
    ["jobs"],
    ["demo", "app"],
    ["cli"],
]
"""The rooms: folders, and files in the package's root. A room imports only rooms of lower layers."""

ACROSS = {
    "order": 6,
    "datasets": 1.4,
    "tokenizer": 9.2,
    "metrics": 3.6,
    "transformer": 6,
    "synthetic": 0.4,
    "sampling": 6,
    "engine": 6.6,
    "pretrained": 8,
    "pipeline": 6,
    "evaluation": 2,
    "training": 5.4,
    "benchmark": 9.4,
    "jobs": 2.8,
    "demo": 4.6,
    "app": 7.6,
    "cli": 6.5,
}
"""Where a room lies in the picture, 0 to 10, so that few edges cross; others are spread over their layer."""


def room(path: Path) -> str:
    """The room that a file of the package lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def package_files() -> list[Path]:
    """Every file but the package's own door, which imports only when a name is asked for."""
    return sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def imports(path: Path) -> list[tuple[str, int]]:
    """All modules that a file imports, wherever in the file, with their lines.

    Raises:
        ValueError: naming file and line, on a relative import.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{path}:{node.lineno} imports relatively; name the whole module")
            if node.module == "parvideo":
                found += [(f"parvideo.{alias.name}", node.lineno) for alias in node.names]
            else:
                found.append((node.module, node.lineno))
    return found


def edges(files: Iterable[Path]) -> set[tuple[str, str]]:
    """Pairs (room, imported room) of two different rooms."""
    pairs = set()
    for path in files:
        for module, _ in imports(path):
            parts = module.split(".")
            if parts[0] == "parvideo" and len(parts) > 1 and parts[1] != room(path):
                pairs.add((room(path), parts[1]))
    return pairs


def reduced(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges of a graph without circles, less those that a longer way of edges implies."""
    onward: dict[str, set[str]] = {}
    for start, end in pairs:
        onward.setdefault(start, set()).add(end)

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        for end in onward.get(start, set()):
            found |= {end} | reach(end)
        return found

    return {
        (start, end)
        for start, end in pairs
        if not any(end in reach(other) for other in onward[start] if other != end)
    }


def draw(out: Path) -> None:
    """Write the picture: a row a layer. Edges that go up, which there should not be, are red.

    Left out are edges to the two lowest layers, which everybody uses, and edges that others imply.
    """
    figure = new_figure(9, 8)
    axes = figure.subplots()
    places = {
        name: (ACROSS.get(name, (place + 1) / (len(names) + 1) * 10), float(height))
        for height, names in enumerate(LAYERS)
        for place, name in enumerate(names)
    }
    shown = {(start, end) for start, end in edges(package_files()) if end in places and places[end][1] > 1}
    down = {(start, end) for start, end in shown if places[start][1] > places[end][1]}
    for start, end in sorted(reduced(down) | (shown - down)):
        (x0, y0), (x1, y1) = places[start], places[end]
        axes.annotate(
            "",
            xy=(x1, y1 + 0.18),
            xytext=(x0, y0 - 0.18),
            arrowprops={
                "arrowstyle": "-|>",
                "color": "#6b8299" if (start, end) in down else "#c0392b",
                "linewidth": 1,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    for height, names in enumerate(LAYERS):
        axes.axhspan(height - 0.42, height + 0.42, color="#f5f7f9" if height % 2 else "#fbfcfd", zorder=-1)
        axes.text(-0.4, height, str(height), color="#8a97a3", ha="right", va="center", fontsize=9)
        for name in names:
            x, y = places[name]
            label = f"{name}/" if (PACKAGE / name).is_dir() else f"{name}.py"
            box = {"boxstyle": "round,pad=0.35", "facecolor": "#e3ecf5", "edgecolor": "#34506b"}
            axes.text(x, y, label, ha="center", va="center", fontsize=10, bbox=box)
    axes.set_xlim(-0.6, 10.4)
    axes.set_ylim(-0.5, len(LAYERS) - 0.5)
    axes.axis("off")
    save_figure(figure, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tools.draw_architecture", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "architecture.svg")
    draw(parser.parse_args().out)
