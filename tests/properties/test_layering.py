"""Who may import whom: an import points to a lower layer, and never to a neighbour on its own.

The layers are those of the picture in docs/architecture.md (tools/draw_architecture.py).
"""

from pathlib import Path

import pytest

from tools.draw_architecture import LAYERS, PACKAGE, ROOT, edges, imports, package_files, room

LIGHTNING = {"training", "jobs"}
VIDEO = {"datasets"}
LAYER = {name: height for height, names in enumerate(LAYERS) for name in names}
FILES = package_files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = room(path)
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] != "parvideo":
            continue
        assert len(parts) > 1, f"{path}:{line} imports the package's own door"
        assert parts[1] == own or LAYER[parts[1]] < LAYER[own], f"{path}:{line}: {own} imports {parts[1]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lightning_and_video_libraries_stay_in_their_rooms(path: Path) -> None:
    for module, line in imports(path):
        top = module.split(".")[0]
        if top in ("lightning", "pytorch_lightning"):
            assert room(path) in LIGHTNING, f"{path}:{line} imports {top}"
        if top in ("av", "decord"):
            assert room(path) in VIDEO, f"{path}:{line} imports {top}"


def test_every_room_has_a_layer_and_the_root_is_small() -> None:
    assert {room(path) for path in FILES} == set(LAYER)
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_no_file_is_long() -> None:
    """Of the package, the tools and the tests; what another program wrote (tests/golden) is data."""
    sources = [
        path
        for folder in ("parvideo", "tools", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".html", ".c", ".css", ".js"} and "golden" not in path.parts
    ]
    assert set(FILES) <= set(sources)
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {str(path): count for path, count in lines.items() if count > 400} == {}


def test_the_walk_sees_edges_inside_functions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tools.draw_architecture.PACKAGE", tmp_path)
    file = tmp_path / "order" / "spec.py"
    file.parent.mkdir()
    file.write_text("def f():\n    from parvideo.training import data\n")
    assert imports(file) == [("parvideo.training", 2)]
    assert edges([file]) == {("order", "training")}
    assert LAYER["order"] < LAYER["training"]
