"""The chain's report: quality against steps and seconds on real video, with errors and what limits it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from parvideo.evaluation.report import read_report
from parvideo.files import read_json, write_json, write_text
from parvideo.pretrained.folder import load_orders

PAPER = {"1x1x1": 94.1, "1x2x2": 99.5, "1x4x4": 103.4}
"""FVD on UCF-101 in the PAR paper (arXiv 2412.15119): its own tokenizer, size and training."""

SAMPLING = ("guidance_scale", "temperature")


@dataclass(frozen=True)
class Row:
    """A model in one order: means over seeds of sampling.

    Attributes:
        model: name of the generator.
        order: its order.
        steps: forward calls of a clip.
        seconds: of one clip at batch 1, transformer and decoder; None where it was not timed.
        clips: generated clips of each seed.
        fvd: against the training split, one value a seed.
        held_out: against the held-out split, one value a seed.
        kvd: against the training split, one value a seed.
        accuracy: share of clips whose class the probe reads, one value a seed.
        error: jackknife standard error of the first seed's FVD, over source videos; None where it has none.
    """

    model: str
    order: str
    steps: int
    seconds: tuple[float, float] | None
    clips: int
    fvd: tuple[float, ...]
    held_out: tuple[float, ...]
    kvd: tuple[float, ...]
    accuracy: tuple[float, ...]
    error: float | None


def write_report(out: Path) -> dict[str, Any]:
    """Write ``results.json`` and ``report.md`` of what has been scored, and print the latter.

    Returns:
        `collect`'s results.

    Raises:
        FileNotFoundError: if nothing has.
    """
    results = collect(out)
    write_json(out / "results.json", results)
    text = render(results)
    write_text(out / "report.md", text)
    print(text)
    return results


def collect(out: Path) -> dict[str, Any]:
    """Every figure of the chain's folder, JSON-able.

    Raises:
        FileNotFoundError: if no report is there.
    """
    paths = sorted((out / "reports").glob("*/*-seed*.json"))
    if not paths:
        raise FileNotFoundError(f"{out / 'reports'} holds no row's report yet; `run` writes them")
    named: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in paths:
        order = path.stem.rsplit("-seed", 1)[0]
        named.setdefault((path.parent.name, order), []).append(read_report(path))
    state = read_json(out / "state.json") if (out / "state.json").exists() else {}
    times = state.get("times", {}).get("result")
    timed = {(row["model"], row["order"]): row for row in (times or {"rows": []})["rows"]}
    rows = [_row(out, *key, found, timed.get(key)) for key, found in named.items()]
    first = next(iter(named.values()))[0]
    rebuilt = out / "reports" / "reconstructions.json"
    return {
        "protocol": first["protocol"],
        "extractor": first["extractor"],
        "sampling": {name: float(first["generated"]["sampling"][name]) for name in SAMPLING},
        "real_clips": first["repeats"][0]["real_count"],
        "held_out_clips": first["held_out"]["real_count"],
        "floor": first["repeats"][0]["floor"],
        "real_accuracy": _probe(first, "held_out"),
        "chance": 1 / first["classes_covered"]["of"],
        "reconstructions": _rebuilt(read_report(rebuilt)) if rebuilt.exists() else None,
        "rows": [asdict(row) for row in sorted(rows, key=lambda row: (row.model, -row.steps))],
        "machine": None if times is None else times["machine"],
    }


def render(results: dict[str, Any]) -> str:
    """`collect`'s results as Markdown."""
    protocol, rows = results["protocol"], [Row(**row) for row in results["rows"]]
    sampling = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in results["sampling"].items())
    lines = [
        f"Protocol {protocol['name']}: {results['real_clips']} real clips of the training split, "
        f"{results['held_out_clips']} held out, {rows[0].clips} generated clips for each row and seed "
        f"of sampling ({len(rows[0].fvd)}), {sampling}. FVD is the mean over seeds ± "
        "the larger of their standard deviation and the first seed's jackknife error over source videos.",
        "",
        "| model | order | steps | s/clip: transformer + decoder | FVD, training split | FVD, held out "
        "| KVD | class read | FVD against 1x |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = next((one for one in rows if one.model == row.model and one.order == "1x1x1"), None)
        seconds = "-" if row.seconds is None else f"{row.seconds[0]:.2f} + {row.seconds[1]:.2f}"
        cells = (
            row.model,
            row.order,
            str(row.steps),
            seconds,
            _with_error(row.fvd, row.error),
            _with_error(row.held_out, None),
            f"{np.mean(row.kvd):.1f}",
            f"{np.mean(row.accuracy):.0%}",
            "-" if base is None or base is row else against(row.fvd, base.fvd),
        )
        lines.append("| " + " | ".join(cells) + " |")
    floor, rebuilt = results["floor"], results["reconstructions"]
    lines += [""]
    if floor is not None:
        lines.append(
            f"- One half of the real training clips against the other: FVD {floor['value']:.0f} "
            f"({floor['count']} clips a side)."
        )
    if rebuilt is not None:
        lines.append(
            f"- Reconstructions (rFVD): {rebuilt['fvd']:.0f} on the training split, "
            f"{rebuilt['held_out']:.0f} held out; the probe reads the class of "
            f"{rebuilt['accuracy']:.0%} of the held-out ones."
        )
    lines.append(
        f"- The probe reads the class of {results['real_accuracy']:.0%} of real held-out clips; "
        f"chance is {results['chance']:.0%}."
    )
    changes = [
        f"{order} {value / PAPER['1x1x1'] - 1:+.0%}" for order, value in PAPER.items() if order != "1x1x1"
    ]
    lines.append(
        f"- The paper (its own tokenizer, size and training; 101 classes): {', '.join(changes)} against 1x."
    )
    if results["machine"] is not None:
        machine = results["machine"]
        lines.append(f"- Times: batch 1, guided, {machine['threads']} threads, {machine['cpu']}.")
    return "\n".join(lines) + "\n"


def against(fvd: Sequence[float], base: Sequence[float]) -> str:
    """How much higher than the base's, in percent, paired by seed; with its 95% interval if there are seeds.

    Seeds pair, for the same clips' numbers key their random numbers; the interval is Student's over them.
    """
    count = min(len(fvd), len(base))
    ratios = np.log(np.array(fvd[:count]) / np.array(base[:count]))
    mean = float(ratios.mean())
    if count < 2:
        return f"{math.expm1(mean):+.0%}"
    half = float(stats.t.ppf(0.975, count - 1) * ratios.std(ddof=1) / math.sqrt(count))
    return f"{math.expm1(mean):+.0%} ({math.expm1(mean - half):+.0%} to {math.expm1(mean + half):+.0%})"


def _row(
    out: Path, model: str, order: str, found: Sequence[dict[str, Any]], timed: dict[str, Any] | None
) -> Row:
    steps = next(one.steps for one in load_orders(out / "models" / model) if one.name == order)
    first = found[0]["repeats"][0]
    return Row(
        model,
        order,
        steps,
        None if timed is None else (timed["transformer"], timed["decoder"]),
        first["fake_count"],
        tuple(report["fvd"] for report in found),
        tuple(report["held_out"]["fvd"] for report in found),
        tuple(report["repeats"][0]["kvd"] for report in found),
        tuple(_probe(report, "generated") for report in found),
        first["standard_error"],
    )


def _rebuilt(report: dict[str, Any]) -> dict[str, float]:
    return {
        "fvd": report["fvd"],
        "held_out": report["held_out"]["fvd"],
        "accuracy": _probe(report, "generated"),
    }


def _probe(report: dict[str, Any], side: str) -> float:
    """The share of clips whose class the probe reads; not a number where a report has no probe."""
    probe = report["class_accuracy"]
    return float(probe[side]["accuracy"]) if isinstance(probe, dict) else math.nan


def spread(values: Sequence[float], error: float | None) -> float:
    """The larger of the seeds' standard deviation and one value's own error; 0 where neither is known."""
    return max(float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, error or 0.0)


def _with_error(values: Sequence[float], error: float | None) -> str:
    around = spread(values, error)
    return f"{np.mean(values):.0f}" + (f" ± {around:.0f}" if around else "")
