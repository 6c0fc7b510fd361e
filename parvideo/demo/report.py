"""The demo's outcome: `results.json`, the page, and what is said at the end."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from parvideo.demo.chart import Chart, Curve
from parvideo.demo.page import ClassClips, ClipColumn, Command, Generator, PageData, Result, write_page
from parvideo.demo.steps import GENERATORS, Demo, load_samples
from parvideo.pretrained.folder import load_class_names, load_orders
from parvideo.training.loggers import read_metrics

SHOWN_CLASSES, SHOWN_CLIPS = 8, 2


def collect_results(
    demo: Demo,
    tokenizer: dict[str, float],
    classifier: dict[str, float],
    samples: dict[str, dict[str, float]],
    times: dict[str, dict[str, float]],
    reports: dict[str, dict[str, Any]],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Everything that was measured, as plain data."""
    classes = load_class_names(demo.out / "par4x")
    generators = {}
    for name, shown in GENERATORS.items():
        report = reports[name]
        generators[name] = {
            "name": shown,
            **times[name],
            "class_accuracy": samples[name]["class_accuracy"],
            "clips_scored": samples[name]["clips"],
            "fvd": report["fvd"],
            "fvd_standard_error": report["repeats"][0]["standard_error"],
        }
    return {
        "data": str(demo.root),
        "seed": demo.seed,
        "classes": classes,
        "chance": 1 / len(classes),
        "guidance_scale": demo.preset.guidance_scale,
        "top_k": demo.preset.top_k,
        "reconstruction": tokenizer,
        "reconstruction_gain_db": tokenizer["psnr"] - tokenizer["psnr_copy_first"],
        "classifier": classifier,
        "generators": generators,
        "speedup": times["par1x"]["transformer_seconds"] / times["par4x"]["transformer_seconds"],
        "fvd_comparability": reports["par4x"]["comparability"],
        "fvd_warnings": reports["par4x"]["warnings"],
        "stage_seconds": seconds,
    }


def make_page(demo: Demo, results: dict[str, Any]) -> Path:
    """Write the page; returns its path."""
    path = demo.out / "index.html"
    par4x, par1x = results["generators"]["par4x"], results["generators"]["par1x"]
    page = PageData(
        title="parvideo demo: video generated in parallel",
        summary=(
            f"A tokenizer and two transformers were trained on {results['data']} "
            f"({len(results['classes'])} classes). Both transformers are alike but for the order in which "
            "they generate: 1x one token a step, 4x one token of each of four regions a step "
            "(PAR, arXiv 2412.15119)."
        ),
        highlights=[
            (f"{par4x['steps']} steps", f"instead of {par1x['steps']}"),
            (f"{results['speedup']:.1f} times", "as fast, transformer alone"),
            (f"{par4x['class_accuracy']:.0%}", f"show the class asked for (chance {results['chance']:.1%})"),
            (
                f"{results['reconstruction_gain_db']:+.1f} dB",
                "PSNR of reconstructions against copying the first frame",
            ),
        ],
        conditions=[
            ("Data", results["data"]),
            ("Seed", str(results["seed"])),
            ("Seconds in all", f"{sum(results['stage_seconds'].values()):.0f}"),
        ],
        columns=[
            ClipColumn("Real", "held out from training"),
            ClipColumn("Reconstructed", "the same clips through the tokenizer"),
            ClipColumn("Generated 4x", f"from the class alone, {par4x['steps']} steps"),
            ClipColumn("Generated 1x", f"from the class alone, {par1x['steps']} steps"),
        ],
        classes=_clips(demo, results["classes"]),
        fps=demo.form["fps"],
        generators=[
            Generator(
                name=entry["name"],
                group=_group(demo, name),
                clips=int(entry["clips"]),
                seconds=entry["transformer_seconds"],
                fvd=entry["fvd"],
                fvd_error=entry["fvd_standard_error"],
                class_accuracy=entry["class_accuracy"],
            )
            for name, entry in results["generators"].items()
        ],
        comparison_note=(
            f"Class accuracy: the part of {int(par4x['clips_scored'])} clips, generated with guidance "
            f"{results['guidance_scale']:g} and top-k {results['top_k']}, that the demo's classifier gives "
            "the class asked for; chance is "
            f"{results['chance']:.1%}, and it gives {results['classifier']['held_out_accuracy']:.0%} of "
            "held-out real clips their class. Times are of the transformer alone, the two generators taking "
            "turns; the ± of FVD is its standard error."
        ),
        fvd_notice=results["fvd_comparability"],
        charts=_charts(demo),
        results=_rows(results),
        commands=[Command(purpose, line) for purpose, line in next_commands(demo, results)],
    )
    write_page(path, page)
    return path


def next_commands(demo: Demo, results: dict[str, Any]) -> list[tuple[str, str]]:
    """Commands to go on with: (what for, the line)."""
    program = "parvideo" if shutil.which("parvideo") else _program()
    out = demo.out
    name = results["classes"][0]
    video = _first_video(demo)
    network = f"--i3d {demo.i3d}" if demo.i3d else f"--features {out / 'classifier'}"
    form = demo.form
    return [
        (
            "16 more clips of a class",
            f"{program} sample --model {out / 'par4x'} --class {name} --num 16 --guidance-scale "
            f"{results['guidance_scale']:g} --top-k {results['top_k']} --out {out / 'more'}",
        ),
        (
            "a video through the tokenizer and back",
            f"{program} reconstruct {video} --tokenizer {out / 'tokenizer'} --out {out / 'reconstructed'}",
        ),
        (
            "score clips anew",
            f"{program} evaluate --real {demo.root} --clips {out / 'samples' / 'par4x'} {network} --frames "
            f"{form['frames']} --size {form['size']} --fps {form['fps']} --real-count 0 "
            f"--fake-count {int(results['generators']['par4x']['clips_scored'])} --out {out / 'report.json'}",
        ),
        (
            "train the tokenizer longer",
            f"{program} fit --config {out / 'tokenizer' / 'config.yaml'} --trainer.max_steps 5000 "
            f"--out {out / 'tokenizer-longer'}",
        ),
    ]


def print_summary(results: dict[str, Any], page: Path, commands: list[tuple[str, str]]) -> None:
    """Print what was reached, and how to go on."""
    quality, classifier = results["reconstruction"], results["classifier"]
    print(
        f"\nHeld-out reconstructions: {quality['psnr']:.2f} dB PSNR; copying the first frame gives "
        f"{quality['psnr_copy_first']:.2f} dB ({results['reconstruction_gain_db']:+.2f} dB)."
    )
    print(f"{'':4}{'steps':>7}{'s/batch':>10}{'class accuracy':>17}{'FVD':>10}")
    for entry in results["generators"].values():
        print(
            f"{entry['name']:<4}{entry['steps']:>7}{entry['transformer_seconds']:>10.2f}"
            f"{entry['class_accuracy']:>17.0%}{entry['fvd']:>10.2f}"
        )
    print(
        f"Class accuracy: chance is {results['chance']:.1%}; the classifier itself is right on "
        f"{classifier['held_out_accuracy']:.0%} of held-out real clips. Seconds are of the transformer for "
        f"{int(results['generators']['par4x']['clips'])} clips.\n{results['fvd_comparability']}"
    )
    print(f"\nThe page: {page}\n\nGo on with:")
    for purpose, line in commands:
        print(f"  # {purpose}\n  {line}")


def _clips(demo: Demo, classes: list[str]) -> list[ClassClips]:
    held_out = np.load(demo.out / "held_out.npz", allow_pickle=False)
    made = {name: load_samples(demo.out / "samples" / name) for name in GENERATORS}
    shown = []
    for label, name in enumerate(classes[:SHOWN_CLASSES]):
        rows = np.flatnonzero(held_out["labels"] == label)[:SHOWN_CLIPS]
        clips = {"Real": held_out["real"][rows], "Reconstructed": held_out["reconstructed"][rows]}
        for folder, title in GENERATORS.items():
            all_clips, labels = made[folder]
            clips[f"Generated {title}"] = all_clips[labels == label][:SHOWN_CLIPS].numpy()
        shown.append(ClassClips(name, {column: part for column, part in clips.items() if len(part)}))
    return shown


def _group(demo: Demo, name: str) -> Any:
    order = load_orders(demo.out / name)[0]
    return order.unflatten(order.group[None])[0].numpy()


def _charts(demo: Demo) -> list[Chart]:
    tokenizer = read_metrics(demo.out / "tokenizer")
    generators = {shown: read_metrics(demo.out / name) for name, shown in GENERATORS.items()}
    charts = [
        Chart("Tokenizer", "training loss", [Curve("loss", tokenizer["train/loss"])]),
        Chart(
            "Generators",
            "cross entropy (nats a token)",
            [
                Curve(f"{shown} {what}", metrics[key])
                for shown, metrics in generators.items()
                for what, key in (("training", "train/loss"), ("held out", "val/loss"))
                if key in metrics
            ],
        ),
    ]
    if "val/psnr" in tokenizer:
        charts.insert(1, Chart("Held-out PSNR", "dB", [Curve("PSNR", tokenizer["val/psnr"])]))
    return charts


def _rows(results: dict[str, Any]) -> list[Result]:
    quality, classifier = results["reconstruction"], results["classifier"]
    return [
        Result(
            "Held-out PSNR",
            f"{quality['psnr']:.2f} dB",
            f"{quality['psnr_copy_first']:.2f} dB copying the first frame",
            "how near reconstructions come to clips the tokenizer never saw",
        ),
        Result("Held-out SSIM", f"{quality['ssim']:.3f}", "1 is perfect", "structure kept, frame by frame"),
        Result(
            "Motion kept",
            f"{quality['motion_ratio']:.2f}",
            "1 is right, 0 is frozen",
            "change between frames, relative to the original",
        ),
        Result(
            "Classifier on real clips",
            f"{classifier['held_out_accuracy']:.0%}",
            f"{results['chance']:.1%} by chance",
            "how far the classifier behind class accuracy can be trusted",
        ),
    ]


def _first_video(demo: Demo) -> Path:
    return demo.videos().records[0].path


def _program() -> str:
    started = Path(sys.argv[0])
    return str(started) if started.name == "parvideo" else "parvideo"
