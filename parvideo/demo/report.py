"""The demo's outcome: the page, at any time; at the end `results.json` and what is said."""

import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parvideo.demo.chart import Chart, Curve
from parvideo.demo.page import write_page
from parvideo.demo.page_data import (
    ClassClips,
    ClipColumn,
    ClipTable,
    Command,
    Generator,
    PageData,
    Result,
    StageState,
)
from parvideo.demo.published import PUBLISHED, read_showcase
from parvideo.demo.scoring import HELD_OUT, load_samples
from parvideo.demo.steps import ORDERS, Demo
from parvideo.pretrained.folder import load_class_names, load_orders
from parvideo.training.loggers import read_metrics

PAGE = "index.html"
SHOWN_CLASSES, SHOWN_CLIPS = 8, 2

Found = Mapping[str, Any]
"""What the stages that are done gave, by their names."""


def collect_results(demo: Demo, found: Found, seconds: dict[str, float]) -> dict[str, Any]:
    """Everything that was measured, as plain data, once all stages are done."""
    classes = load_class_names(demo.out / "generator")
    generators = {}
    for shown in ORDERS:
        report = found[f"score {shown}"]
        generators[shown] = {
            **found["time"][shown],
            **found[f"sample {shown}"],
            "fvd": report["fvd"],
            "fvd_standard_error": report["repeats"][0]["standard_error"],
        }
    quality, first = found["reconstruct"], found[f"score {next(iter(ORDERS))}"]
    return {
        "data": str(demo.root),
        "seed": demo.seed,
        "processor": processor(),
        "classes": classes,
        "chance": 1 / len(classes),
        "temperature": demo.preset.temperature,
        "top_p": demo.preset.top_p,
        "guidance_scale": demo.preset.guidance_scale,
        "reconstruction": quality,
        "reconstruction_gain_db": quality["psnr"] - quality["psnr_copy_first"],
        "classifier": found["classifier"],
        "generators": generators,
        "speedup": _speedup(found["time"]),
        "fvd_comparability": first["comparability"],
        "fvd_warnings": first["warnings"],
        "stage_seconds": seconds,
    }


def make_page(
    demo: Demo, found: Found, stages: Sequence[tuple[str, str]], seconds: Mapping[str, float]
) -> Path:
    """Write the page with whatever there is by now, atomically; returns its path.

    Args:
        demo: the demo.
        found: results of the stages that are done.
        stages: (name, title) of all stages, in turn.
        seconds: that stages took.
    """
    page = PageData(
        title="parvideo demo: video generated in parallel",
        summary=(
            f"A tokenizer and one transformer are trained here on {demo.root}. The transformer learns two "
            "orders: 1x generates one token a step, 4x one token of each of four regions a step (PAR, arXiv "
            "2412.15119)."
        ),
        clips=ClipTable(_columns(demo, found), _clips(demo, found), demo.form["fps"]),
        stages=_states(found, stages, seconds),
        highlights=_highlights(found),
        conditions=[
            ("Data", str(demo.root)),
            ("Seed", str(demo.seed)),
            ("Processor", processor()),
            ("Seconds so far", f"{sum(seconds.values()):.0f}"),
        ],
        generators=_generators(demo, found),
        comparison_note=_comparison_note(demo, found),
        fvd_notice=found["score 1x"]["comparability"] if "score 1x" in found else "",
        charts=_charts(demo, found),
        results=_rows(demo, found),
        commands=[Command(*row) for row in next_commands(demo)] if "score 1x" in found else [],
        showcase=read_showcase(_published(found), demo.out / PUBLISHED),
    )
    path = demo.out / PAGE
    write_page(path, page)
    return path


def next_commands(demo: Demo) -> list[tuple[str, str]]:
    """Commands to go on with, once there is a generator: (what for, the line)."""
    program = "parvideo" if shutil.which("parvideo") else _program()
    out, preset, form = demo.out, demo.preset, demo.form
    name = load_class_names(out / "generator")[0]
    network = f"--i3d {demo.i3d}" if demo.i3d else f"--features {out / 'classifier'}"
    clips, _ = load_samples(out / "samples" / "4x")
    return [
        (
            "16 more clips of a class",
            f"{program} sample --model {out / 'generator'} --class {name} --num 16 --guidance-scale "
            f"{preset.guidance_scale:g} --top-p {preset.top_p:g} --temperature {preset.temperature:g} "
            f"--out {out / 'more'}",
        ),
        (
            "a video through the tokenizer and back",
            f"{program} reconstruct {_first_video(demo)} --tokenizer {out / 'tokenizer'} "
            f"--out {out / 'reconstructed'}",
        ),
        (
            "score clips anew",
            f"{program} evaluate --real {demo.root} --clips {out / 'samples' / '4x'} {network} --frames "
            f"{form['frames']} --size {form['size']} --fps {form['fps']} --real-count 0 "
            f"--fake-count {len(clips)} --out {out / 'report.json'}",
        ),
        (
            "train the transformer longer",
            f"{program} fit --config {out / 'generator' / 'config.yaml'} --trainer.max_steps 6000 "
            f"--out {out / 'generator-longer'}",
        ),
    ]


def print_summary(results: dict[str, Any], page: Path, commands: list[tuple[str, str]]) -> None:
    """Print what was reached, and how to go on."""
    quality, classifier = results["reconstruction"], results["classifier"]
    print(
        f"\nHeld-out reconstructions: {quality['psnr']:.2f} dB PSNR; copying the first frame gives "
        f"{quality['psnr_copy_first']:.2f} dB ({results['reconstruction_gain_db']:+.2f} dB). "
        f"{_share(quality, 'motion_ratio')} as much moves as in the originals, "
        f"{_share(quality, 'motion_kept')} in its place to the pixel."
    )
    whole = any("whole" in entry for entry in results["generators"].values())
    titles = f"{'':4}{'steps':>7}{'s/batch':>10}{'class accuracy':>17}{'FVD':>10}"
    print(titles + (f"{'objects whole':>16}{'class read exactly':>21}" if whole else ""))
    for shown, entry in results["generators"].items():
        line = (
            f"{shown:<4}{entry['steps']:>7}{entry['transformer_seconds']:>10.2f}"
            f"{entry['class_accuracy']:>17.0%}{entry['fvd']:>10.2f}"
        )
        print(line + (f"{entry['whole']:>16.0%}{entry['read_accuracy']:>21.0%}" if "whole" in entry else ""))
    print(
        f"Class accuracy: chance is {results['chance']:.1%}; the classifier itself is right on "
        f"{classifier['held_out_accuracy']:.0%} of held-out real clips. Seconds are of the transformer for "
        f"{int(results['generators']['4x']['timed_clips'])} clips, on {results['processor']}.\n"
        f"{results['fvd_comparability']}"
    )
    print(f"\nThe page: {page}\n\nGo on with:")
    for purpose, line in commands:
        print(f"  # {purpose}\n  {line}")


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _states(
    found: Found, stages: Sequence[tuple[str, str]], seconds: Mapping[str, float]
) -> list[StageState]:
    states = [StageState(title, "done", seconds[name]) for name, title in stages[: len(found)]]
    states += [StageState(title, "running") for _, title in stages[len(found) :][:1]]
    return states + [StageState(title, "to come") for _, title in stages[len(found) + 1 :]]


def _columns(demo: Demo, found: Found) -> list[ClipColumn]:
    columns = [ClipColumn("Real", "held out from training")]
    if "reconstruct" in found:
        columns.append(ClipColumn("Reconstructed", "the same clips through the tokenizer"))
    for shown in ORDERS:
        if f"sample {shown}" in found:
            steps = _order(demo, shown).steps
            columns.append(ClipColumn(f"Generated {shown}", f"from the class alone, {steps} steps"))
    return columns


def _clips(demo: Demo, found: Found) -> list[ClassClips]:
    shown: list[dict[str, NDArray[Any]]]
    if "reconstruct" in found:
        held = np.load(demo.out / HELD_OUT, allow_pickle=False)
        sources = {
            "Real": (held["real"], held["labels"]),
            "Reconstructed": (held["reconstructed"], held["labels"]),
        }
    else:
        sources = {"Real": _first_real(demo)}
    for name in ORDERS:
        if f"sample {name}" in found:
            clips, labels = load_samples(demo.out / "samples" / name)
            sources[f"Generated {name}"] = (clips.numpy(), labels.numpy())
    names = (demo.clips("test", "center").class_names or [])[:SHOWN_CLASSES]
    shown = [
        {column: clips[labels == label][:SHOWN_CLIPS] for column, (clips, labels) in sources.items()}
        for label in range(len(names))
    ]
    return [
        ClassClips(name, {column: part for column, part in clips.items() if len(part)})
        for name, clips in zip(names, shown, strict=True)
    ]


def _first_real(demo: Demo) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first held-out clips of each class shown, without reading all."""
    clips = demo.clips("test", "center")
    some: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for index, (record, _) in enumerate(clips.places()):
        if record.label < SHOWN_CLASSES and labels.count(record.label) < SHOWN_CLIPS:
            some.append(clips[index]["clip"].numpy())
            labels.append(record.label)
    return np.stack(some), np.array(labels)


def _highlights(found: Found) -> list[tuple[str, str]]:
    shown: list[tuple[str, str]] = []
    if (times := found.get("time")) is not None:
        shown += [
            (f"{times['4x']['steps']} steps", f"instead of {times['1x']['steps']}"),
            (f"{_speedup(times):.1f} times", "as fast, transformer alone"),
        ]
    if (made := found.get("sample 4x")) is not None:
        shown.append((f"{made['class_accuracy']:.0%}", "of 4x clips show the class asked for"))
    if (quality := found.get("reconstruct")) is not None:
        gain = quality["psnr"] - quality["psnr_copy_first"]
        shown.append(
            (f"{quality['psnr']:.1f} dB", f"reconstructions; {gain:+.1f} dB against the first frame")
        )
    return shown


def _generators(demo: Demo, found: Found) -> list[Generator]:
    if "score 1x" not in found:
        return []
    generators = []
    for shown in ORDERS:
        order, report, times = _order(demo, shown), found[f"score {shown}"], found["time"][shown]
        generators.append(
            Generator(
                name=shown,
                group=order.unflatten(order.group[None])[0].numpy(),
                clips=int(times["timed_clips"]),
                seconds=times["transformer_seconds"],
                fvd=report["fvd"],
                fvd_error=report["repeats"][0]["standard_error"],
                class_accuracy=found[f"sample {shown}"]["class_accuracy"],
            )
        )
    return generators


def _comparison_note(demo: Demo, found: Found) -> str:
    if "score 1x" not in found:
        return ""
    preset, made, classifier = demo.preset, found["sample 4x"], found["classifier"]
    return (
        f"One transformer, trained in both orders. Class accuracy: the part of {int(made['clips'])} clips, "
        f"generated with guidance {preset.guidance_scale:g}, temperature {preset.temperature:g} and top-p "
        f"{preset.top_p:g}, that the demo's classifier gives the class asked for; chance is "
        f"{1 / classifier['classes']:.1%}, and it gives {classifier['held_out_accuracy']:.0%} of held-out "
        "real clips their class. Times are of the transformer alone, the orders taking turns; the ± of FVD "
        "is its standard error."
    )


def _rows(demo: Demo, found: Found) -> list[Result]:
    rows = []
    if (quality := found.get("reconstruct")) is not None:
        rows += [
            Result(
                "Held-out PSNR",
                f"{quality['psnr']:.2f} dB",
                f"{quality['psnr_copy_first']:.2f} dB copying the first frame",
                "how near reconstructions come to clips the tokenizer never saw",
            ),
            Result(
                "Held-out SSIM", f"{quality['ssim']:.3f}", "1 is perfect", "structure kept, frame by frame"
            ),
            Result(
                "Motion",
                _share(quality, "motion_ratio"),
                "100% is right; 0% is frozen",
                "how much changes between frames, relative to the originals",
            ),
            Result(
                "Motion kept",
                _share(quality, "motion_kept"),
                "100% is right; 0% is frozen, or moves elsewhere",
                "how much of that happens in its place, to the pixel: half a pixel beside it is a part lost",
            ),
        ]
    for shown in ORDERS:
        made = found.get(f"sample {shown}", {})
        if "whole" in made:
            rows.append(
                Result(
                    f"Objects whole, {shown}",
                    f"{made['whole']:.0%} of {int(made['clips_read'])} clips",
                    f"class read in {made['read_accuracy']:.0%}",
                    "by the exact reader: none splits, vanishes, changes colour or is one too many",
                )
            )
    if (classifier := found.get("classifier")) is not None:
        rows.append(
            Result(
                "Classifier on real clips",
                f"{classifier['held_out_accuracy']:.0%}",
                f"{1 / classifier['classes']:.1%} by chance",
                "how far the classifier behind class accuracy can be trusted",
            )
        )
    return rows


def _charts(demo: Demo, found: Found) -> list[Chart]:
    charts = []
    if "reconstruct" in found:
        metrics = read_metrics(demo.out / "tokenizer")
        charts.append(Chart("Tokenizer", "training loss", [Curve("loss", metrics["train/loss"])]))
        if "val/psnr" in metrics:
            charts.append(Chart("Held-out PSNR", "dB", [Curve("PSNR", metrics["val/psnr"])]))
    if "generator" in found:
        metrics = read_metrics(demo.out / "generator")
        curves = {"training": "train/loss"} | {
            f"held out, {shown}": "val/loss" if place == 0 else f"val/loss_{name}"
            for place, (shown, name) in enumerate(ORDERS.items())
        }
        known = [Curve(what, metrics[key]) for what, key in curves.items() if key in metrics]
        charts.append(Chart("Transformer", "cross entropy (nats a token)", known))
    return charts


def _published(found: Found) -> dict[str, Any] | None:
    return next((value for name, value in found.items() if name.startswith(PUBLISHED)), None)


def _order(demo: Demo, shown: str) -> Any:
    return next(order for order in load_orders(demo.out / "generator") if order.name == ORDERS[shown])


def _speedup(times: Mapping[str, Mapping[str, float]]) -> float:
    return times["1x"]["transformer_seconds"] / times["4x"]["transformer_seconds"]


def _share(quality: Mapping[str, float], name: str) -> str:
    """A share of the motion; there is none in clips that stand still."""
    return f"{quality[name]:.0%}" if np.isfinite(quality.get(name, np.nan)) else "none"


def _first_video(demo: Demo) -> Path:
    return demo.videos().records[0].path


def _program() -> str:
    started = Path(sys.argv[0])
    return str(started) if started.name == "parvideo" else "parvideo"
