"""README, block by block: what can run here runs, on small models in the place of those that it names."""

import configparser
import re
import runpy
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from parvideo.cli import main
from parvideo.datasets.clip_format import ClipFormat
from parvideo.datasets.probing import probe
from parvideo.files import config_folder, read_json
from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor
from parvideo.order import OrderSpec
from parvideo.pipeline.choices import find_order
from parvideo.pretrained.folder import (
    TOKENIZER,
    load_class_names,
    load_clip_format,
    load_orders,
    save_generator,
    save_tokenizer,
)
from parvideo.synthetic import ShapesSettings, write_shapes_data
from parvideo.transformer import VideoTransformer
from tests.world import make_tokenizer

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
GRID = (5, 16, 16)
MODEL = Path("data/models/ucf101-six-4x")
CLASSES = ["Archery", "BasketballDunk", "HorseRace", "PlayingPiano", "PlayingViolin", "Surfing"]


def sections() -> dict[str, str]:
    """Heading -> what stands below it."""
    return {part.partition("\n")[0]: part for part in TEXT.split("\n## ")[1:]}


def commands(section: str) -> list[list[str]]:
    """The words of each line of a section's shell blocks."""
    found = [text for language, text in BLOCK.findall(sections()[section]) if language != "python"]
    assert found, f"{section} has no commands"
    return [shlex.split(line, comments=True) for text in found for line in text.splitlines()]


def orders() -> list[OrderSpec]:
    """Those that the README's generator learns: its main order, then the others."""
    config = yaml.safe_load((config_folder() / "ucf101_six" / "generator_any.yaml").read_text())
    settings = config["model"]["init_args"]
    said = [settings["order"], *settings["more_orders"]]
    return [OrderSpec(**{**one, "regions": tuple(one.get("regions", (1, 1, 1)))}) for one in said]


def write_stand_in(folder: Path, class_names: Sequence[str]) -> None:
    """An untrained generator of the README's clips, 17x64x64 at 12.5 fps, in its orders, of 9 codes."""
    save_tokenizer(folder / "tok", make_tokenizer((2, 2), (2, 2)), clip_format=ClipFormat(17, 64, 12.5))
    built = [spec.build(GRID) for spec in orders()]
    transformer = VideoTransformer(
        GRID,
        9,
        len(class_names),
        dim=16,
        num_layers=1,
        num_heads=2,
        num_transitions=max(order.num_transitions for order in built),
        target_position_embedding=True,
    )
    clip_format = ClipFormat(fps=12.5)
    save_generator(folder, transformer, list(class_names), folder / "tok", built, clip_format=clip_format)


def test_every_block_stands_in_a_section_that_is_tested() -> None:
    there = {heading for heading, text in sections().items() if BLOCK.search(text)}
    assert there == {
        "Two commands",
        "Install",
        "Generate",
        "Train on your own videos",
        "Train on UCF-101",  # needs the data set: its commands are parsed by test_docs.py
        "Evaluate",
        "In Python",
    }
    assert not BLOCK.search(TEXT.partition("\n## ")[0])


def test_make_knows_the_two_commands() -> None:
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    lines = commands("Two commands")
    assert len(lines) == 2
    for program, target in lines:
        assert (program, target in rules) == ("make", True)


def test_what_is_installed_is_there() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for line in commands("Install"):
        if line[:2] != ["pip", "install"]:
            assert line == ["parvideo", "--help"]
            continue
        for word in line[2:]:
            extras = re.findall(r"\w+", word.partition("[")[2])
            assert word.partition("[")[0] in (".", "torch")
            assert all(setup.has_option("options.extras_require", extra) for extra in extras)


def test_the_model_of_the_clone_is_what_is_said_of_it() -> None:
    """And so the stand-in is, by which the other tests go."""
    folder = ROOT / MODEL
    assert load_class_names(folder) == CLASSES
    made = load_orders(folder)
    assert [order.name for order in made] == [spec.build(GRID).name for spec in orders()]
    said = load_clip_format(folder / TOKENIZER)
    assert (said.frames, said.size, said.fps, made[0].grid) == (17, 64, 12.5, GRID)
    text = " ".join(sections()["Generate"].split())
    assert f"{', '.join(CLASSES[:-1])} and {CLASSES[-1]}, 17 frames of 64x64 pixels at 12.5 a second" in text
    assert made[0].steps == 323  # 4x, which the page says is the main order


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
def beside_the_model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which the model's name leads to a small one, or, slowly, to the clone's own."""
    monkeypatch.chdir(tmp_path)
    if request.param == "real":
        (tmp_path / "data").symlink_to(ROOT / "data")
    else:
        write_stand_in(MODEL, CLASSES)


@pytest.mark.usefixtures("beside_the_model")
def test_clips_are_generated_at_two_speeds() -> None:
    steps = {}
    for line in commands("Generate"):
        assert main([*line[1:], "--accelerator", "cpu"]) == 0
        out = Path(line[line.index("--out") + 1])
        with np.load(out / "clips-00000.npz") as made:
            assert made["clips"].shape == (4, 17, 64, 64, 3)
        assert len(list(out.glob("*.mp4"))) == 4
        assert (out / "contact-sheet.webp").is_file()
        order = line[line.index("--order") + 1] if "--order" in line else None
        steps[str(out)] = find_order(load_orders(MODEL), order).steps
    assert steps == {"runs/surfing": 323, "runs/surfing-26-steps": 26}


def test_own_videos_take_the_commands_that_a_slow_test_runs() -> None:
    """tests/slow/test_from_zero.py runs those of docs/from_zero.md, as they stand."""
    page = (ROOT / "docs" / "from_zero.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in page.splitlines() if line.startswith("parvideo ")]
    assert commands("Train on your own videos") == lines[:4]


def test_evaluate_scores_the_model_on_a_folder_of_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ShapesSettings(num_classes=2, groups=3, clips_per_group=1, height=64, width=64, frames=40)
    write_shapes_data(Path("my_videos"), settings)
    write_stand_in(Path("runs/generator"), ["RedSquareRight", "GreenDiscLeft"])
    SmallI3DExtractor(SmallI3D(2, width=1), frames=17, size=64).save(Path("net"))
    weights, line = commands("Evaluate")
    assert weights == ["parvideo", "weights", "i3d"]  # needs the network; another one's features do here
    few = ["--features", "net", "--real-count", "0", "--fake-count", "2", "--workers", "0"]
    assert main([*line[1:], *few]) == 0
    shown = capsys.readouterr().out
    for word in ("FVD ", "FVD-infinity ", "KVD ", "real against real, 2 each ", "protocol "):
        assert re.search(rf"^{word}", shown, flags=re.MULTILINE), word
    assert read_json(Path("report.json"))["protocol_hash"][:12] in shown


@pytest.mark.usefixtures("beside_the_model")
def test_python_does_what_its_comments_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ((language, code),) = BLOCK.findall(sections()["In Python"])
    assert language == "python"
    assert f'from_pretrained("{MODEL}")' in code
    Path("example.py").write_text(code)
    made = runpy.run_path("example.py")
    (shape,) = re.findall(r"# uint8 \[([\d, ]+)\]", code)
    assert list(made["clips"].shape) == [int(side) for side in shape.split(",")]
    assert made["clips"].dtype == torch.uint8
    (steps,) = re.findall(r"in (\d+) steps", code)
    assert made["pipe"].find_order("dyadic-64").steps == int(steps)
    assert made["longer"].shape[1] > made["quick"].shape[1] == made["clips"].shape[1]
    (film,) = re.findall(r'write_video\("([^"]+)"', code)
    assert (probe(Path(film)).frames, probe(Path(film)).fps) == (17, 12.5)


def test_steps_are_those_of_the_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = re.findall(r"^\| (\d), (\d), (\d).*?\| (\d+) \| (\d+) \|$", TEXT, flags=re.MULTILINE)
    assert len(rows) == 4
    for t, h, w, together, steps in rows:
        order = OrderSpec(regions=(int(t), int(h), int(w))).build(GRID)
        assert (int(t) * int(h) * int(w), order.steps) == (int(together), int(steps))
    dyadic = OrderSpec(grouping="dyadic", most=64).build(GRID).steps
    assert f"(`dyadic-64`) | up to 64 | {dyadic} |" in TEXT
    raster, four, sixteen = (row[4] for row in rows[:3])
    assert f"| {raster}, {four}, {sixteen} or {dyadic} |" in TEXT  # in the table against others
    assert sorted(spec.build(GRID).steps for spec in orders()) == sorted(
        [dyadic, int(sixteen), int(four), int(raster)]
    )
    (line,) = re.findall(r"`parvideo (order [^`]*)`", TEXT)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 0
    assert Path("order.gif").is_file()
