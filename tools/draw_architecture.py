"""Draw docs/pictures/architecture.svg: the package's rooms in their layers, and who imports whom.

    python -m tools.draw_architecture

The edges are read from the files, so the picture cannot say what is not so.
`tests/properties/test_layering.py` takes the layers from here and fails on an edge that points elsewhere.
"""

import argparse
import ast
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "parvideo"

LAYERS: list[list[str]] = [
    ["version", "files"],
    ["checks", "pixels", "arrays", "state_dicts", "packages"],
    ["order", "datasets", "tokenizer", "metrics"],
    ["transformer", "synthetic"],
    ["sampling"],
    ["engine", "pretrained"],
    ["pipeline"],
    ["evaluation", "training", "benchmark"],
    ["jobs"],
    ["demo"],
    ["cli"],
]
"""The rooms: folders, and files in the package's root. A room imports only rooms of lower layers."""


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


def draw(out: Path) -> None:
    """Write the picture. Edges to the two lowest layers, which everybody uses, are left out."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "parvideo"  # the same file for the same graph
    import matplotlib.pyplot as plt

    places = {
        name: ((place + 1) / (len(names) + 1) * 10, height)
        for height, names in enumerate(LAYERS)
        for place, name in enumerate(names)
    }
    figure, axes = plt.subplots(figsize=(9, 7))
    for start, end in sorted(edges(package_files())):
        if end in places and places[end][1] > 1:
            axes.annotate(
                "",
                xy=places[end],
                xytext=places[start],
                arrowprops={"arrowstyle": "->", "color": "#8aa0b4", "shrinkA": 12, "shrinkB": 14, "lw": 0.8},
            )
    for name, (x, y) in places.items():
        label = f"{name}/" if (PACKAGE / name).is_dir() else f"{name}.py"
        box = {"boxstyle": "round,pad=0.4", "facecolor": "#eef3f8", "edgecolor": "#34506b"}
        axes.text(x, y, label, ha="center", va="center", fontsize=10, bbox=box)
    axes.set_xlim(0, 10)
    axes.set_ylim(-0.6, len(LAYERS) - 0.4)
    axes.axis("off")
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "architecture.svg")
    draw(parser.parse_args().out)
