"""Reports: an FVD with everything needed to trace, believe and compare it, as JSON and as a table."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from parvideo.evaluation.feature_store import FeatureSet
from parvideo.evaluation.protocols import UNPUBLISHED, Protocol
from parvideo.evaluation.splits import (
    HeldOut,
    class_section,
    held_out_section,
    probe_section,
    render_sections,
)
from parvideo.files import AnyPath, read_json, write_json, write_text
from parvideo.metrics.fvd import FrechetResult, describe
from parvideo.metrics.inception_score import inception_score

KIND = "parvideo-fvd-report"

_READ: dict[str, type | tuple[type, ...]] = {
    "metric": str,
    "fvd": (int, float),
    "protocol": dict,
    "protocol_hash": str,
    "extractor": dict,
    "real": dict,
}
"""What reports are compared by."""


@dataclass(frozen=True)
class Subject:
    """What was scored, with what.

    Attributes:
        generated: where generated clips came from, with hashes and sampler settings; JSON.
        real: where real clips came from, with the hash of their list; JSON.
        extractor: fingerprint and a description of the feature network; JSON.
        comparability: why the number compares with nothing published; empty where only the protocol decides.
        logits: the features are class logits of which an Inception Score is wanted.
        paired: generated clips are reconstructions of the real ones (rFVD).
        class_names: classes of the data set.
        lossy: generated clips were read from compressed video.
        notes: what else a reader must know (clips left out or cut).
        wall_seconds: duration of the evaluation.
        held_out: the held-out split's features, where they are wanted.
    """

    generated: dict[str, Any]
    real: dict[str, Any]
    extractor: dict[str, Any]
    comparability: str
    logits: bool
    paired: bool
    class_names: list[str]
    lossy: bool
    notes: list[str]
    wall_seconds: float
    held_out: HeldOut | None = None


def make_report(
    sets: list[tuple[FeatureSet, FeatureSet]], protocol: Protocol, subject: Subject
) -> dict[str, Any]:
    """Score feature sets and put everything a reader needs into one JSON-able dictionary.

    Args:
        sets: real and generated features, a pair for each repeat.
        protocol: under which they were made.
        subject: what they are of.

    Raises:
        ValueError: if ``sets`` is empty, features do not fit, or (paired) ids differ.
    """
    if not sets:
        raise ValueError("sets is empty; a report needs at least one pair of feature sets")
    results = []
    for real, fake in sets:
        if subject.paired and not np.array_equal(real.ids, fake.ids):
            raise ValueError("reconstructions and originals have different ids; rFVD pairs them by id")
        results.append(
            describe(
                real.features.astype(np.float64),
                fake.features.astype(np.float64),
                real.groups,
                fake.groups,
                protocol.formula,
            )
        )
    real, fake = sets[0]
    first = results[0]
    values = [result.fvd for result in results]
    warnings = [*first.warnings, *_shortfalls(real, fake, protocol, subject, len(sets))]
    published = protocol.name not in ("custom", *UNPUBLISHED)
    comparable = not subject.comparability and published and not warnings
    held_out, names = subject.held_out, subject.class_names
    return {
        "kind": KIND,
        "metric": "rFVD" if subject.paired else "FVD",
        "fvd": float(np.mean(values)),
        "fvd_std_over_repeats": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "repeats": [_describe(result) for result in results],
        "inception_score": _inception_score(fake) if subject.logits else None,
        "classes_covered": {"real": real.classes, "generated": fake.classes, "of": len(names)},
        "held_out": None
        if held_out is None
        else held_out_section(real, fake, held_out, protocol.formula, subject.paired),
        "classes": class_section(real, fake, names, held_out),
        "class_accuracy": None if held_out is None else _class_accuracy(real, fake, names, held_out, subject),
        "comparable_with_published": comparable,
        "comparability": _comparability(protocol, comparable, subject.comparability),
        "warnings": warnings,
        "notes": subject.notes,
        "protocol": protocol.to_dict(),
        "protocol_hash": protocol.hash,
        "extractor": subject.extractor,
        "real": subject.real,
        "generated": subject.generated,
        "versions": {name: version(name) for name in ("parvideo", "torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "wall_seconds": subject.wall_seconds,
    }


def write_report(path: AnyPath, report: dict[str, Any]) -> None:
    """Write the report as JSON and, beside it with the suffix ``.txt``, as a table."""
    write_json(path, report)
    write_text(Path(path).with_suffix(".txt"), render(report))


def read_report(path: AnyPath) -> dict[str, Any]:
    """Read what `write_report` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no report.
    """
    report = read_json(path)
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise ValueError(f"{path} is no report of `parvideo evaluate`")
    rows = report.get("repeats")
    lacking = [name for name, kind in _READ.items() if not isinstance(report.get(name), kind)]
    if lacking or not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is a damaged report: it lacks {', '.join(lacking) or 'repeats'}")
    return report


def render(report: dict[str, Any]) -> str:
    """The report as a table for people."""
    first = report["repeats"][0]
    name = report["metric"]
    rows = [(name, _number(report["fvd"]))]
    if report["fvd_std_over_repeats"] is not None:
        rows.append(
            (
                f"standard deviation of {len(report['repeats'])} repeats",
                _number(report["fvd_std_over_repeats"]),
            )
        )
    if first["standard_error"] is not None:
        low, high = first["interval"]
        rows.append(
            (f"standard error ({first['jackknife_groups']} groups)", _number(first["standard_error"]))
        )
        rows.append(("95% interval", f"{_number(low)} .. {_number(high)}"))
    rows += [
        (
            "mean term + covariance term",
            f"{_number(first['mean_term'])} + {_number(first['covariance_term'])}",
        ),
        (f"{name}-infinity", _number(first["fvd_infinity"])),
        ("KVD", f"{first['kvd']:.6g}"),
    ]
    if report["inception_score"] is not None:
        score = report["inception_score"]
        rows.append(
            ("Inception Score", f"{score['mean']:.2f} +- {score['std']:.2f} ({score['parts']} parts)")
        )
    if first["floor"] is not None:
        floor = first["floor"]
        rows.append((f"real against real, {floor['count']} each", _number(floor["value"])))
        rows.append(("the same at the counts below (1/N law)", _number(floor["scaled"])))
    covered = report["classes_covered"]
    rows += [
        ("real / generated clips", f"{first['real_count']} / {first['fake_count']}"),
        ("classes covered", f"{covered['real']} / {covered['generated']} of {covered['of']}"),
        ("rank of the covariances", f"{first['real_rank']} / {first['fake_rank']} of {first['dim']}"),
        ("protocol", f"{report['protocol']['name']} ({report['protocol_hash'][:12]})"),
        ("features", str(report["extractor"]["fingerprint"])[:24]),
        ("seconds", f"{report['wall_seconds']:.0f}"),
    ]
    wide = max(len(left) for left, _ in rows)
    lines = [f"{left:<{wide}}  {right}" for left, right in rows]
    lines += [*render_sections(report), "", report["comparability"]]
    lines += [f"warning: {text}" for text in report["warnings"]]
    lines += [f"note: {text}" for text in report["notes"]]
    return "\n".join(lines) + "\n"


def check_comparable(reports: list[dict[str, Any]]) -> None:
    """Raise ValueError unless all reports have one metric, protocol, feature network and reference."""
    first = reports[0]
    for other in reports[1:]:
        if other["metric"] != first["metric"]:
            raise ValueError(f"{first['metric']} and {other['metric']} measure different things")
        if other["protocol_hash"] != first["protocol_hash"]:
            a, b = first["protocol"], other["protocol"]
            different = [
                f"{k}: {a.get(k)} against {b.get(k)}" for k in a if k != "name" and a.get(k) != b.get(k)
            ]
            raise ValueError(f"the protocols differ, so the numbers do not compare ({'; '.join(different)})")
        if other["extractor"]["fingerprint"] != first["extractor"]["fingerprint"]:
            raise ValueError("the feature networks differ, so the numbers do not compare")
        if other["real"]["hash"] != first["real"]["hash"]:
            raise ValueError("the real clips differ, so the numbers do not compare")


def compare(names: list[str], reports: list[dict[str, Any]]) -> str:
    """A table of several reports, best first.

    Raises:
        ValueError: if there are fewer than two, or they do not compare (`check_comparable`).
    """
    if len(reports) < 2:
        raise ValueError(f"{len(reports)} reports given; comparing takes at least 2")
    check_comparable(reports)
    wide = max(len("report"), *(len(name) for name in names))
    both = all(report.get("held_out") for report in reports)
    read = all(isinstance(report.get("class_accuracy"), dict) for report in reports)
    lines = [
        f"{'report':<{wide}}  {reports[0]['metric']:>10} {'s.e.':>8} {'infinity':>10} {'KVD':>10}"
        + (f" {'held out':>10} {'s.e.':>8}" if both else "")
        + (f" {'class read':>10}" if read else "")
    ]
    for name, report in sorted(zip(names, reports, strict=True), key=lambda pair: pair[1]["fvd"]):
        row = report["repeats"][0]
        lines.append(
            f"{name:<{wide}}  {_number(report['fvd']):>10} {_number(row['standard_error']):>8} "
            f"{_number(row['fvd_infinity']):>10} {row['kvd']:>10.4g}"
        )
        if both:
            other = report["held_out"]
            lines[-1] += f" {_number(other['fvd']):>10} {_number(other['standard_error']):>8}"
        if read:
            lines[-1] += f" {report['class_accuracy']['generated']['accuracy']:>10.1%}"
    lines += ["", f"protocol {reports[0]['protocol']['name']} ({reports[0]['protocol_hash'][:12]})"]
    return "\n".join(lines) + "\n"


def _describe(result: FrechetResult) -> dict[str, Any]:
    jackknife, infinity, floor = result.jackknife, result.infinity, result.floor
    return {
        "fvd": result.fvd,
        "mean_term": result.mean_term,
        "covariance_term": result.covariance_term,
        "standard_error": None if jackknife is None else jackknife.standard_error,
        "jackknife_groups": None if jackknife is None else jackknife.groups,
        "interval": None if result.interval is None else list(result.interval),
        "fvd_infinity": None if infinity is None else infinity.value,
        "fvd_infinity_reliable": None if infinity is None else infinity.reliable,
        "kvd": result.kvd,
        "floor": None
        if floor is None
        else {"value": floor.value, "count": floor.count, "scaled": floor.scaled},
        "real_count": result.real_count,
        "fake_count": result.fake_count,
        "dim": result.dim,
        "real_rank": result.real_rank,
        "fake_rank": result.fake_rank,
    }


def _class_accuracy(
    real: FeatureSet, fake: FeatureSet, names: list[str], held_out: HeldOut, subject: Subject
) -> dict[str, Any] | str:
    """Of held-out reconstructions where there are such: the probe has seen the originals of the others."""
    return probe_section(real, held_out.fake if subject.paired else fake, names, held_out.real)


def _inception_score(fake: FeatureSet) -> dict[str, Any]:
    return asdict(inception_score(fake.features.astype(np.float64), parts=min(10, len(fake))))


def _shortfalls(
    real: FeatureSet, fake: FeatureSet, protocol: Protocol, subject: Subject, repeats: int
) -> list[str]:
    warnings = []
    if protocol.real_count and len(real) != protocol.real_count:
        warnings.append(f"the protocol takes {protocol.real_count} real clips, there are {len(real)}")
    if not subject.paired and len(fake) != protocol.fake_count:
        warnings.append(f"the protocol takes {protocol.fake_count} generated clips, there are {len(fake)}")
    if repeats != protocol.repeats and not subject.paired:
        warnings.append(f"the protocol takes {protocol.repeats} repeats, there are {repeats}")
    if len(subject.class_names) > 1 and real.classes == 1:
        warnings.append(f"the real clips cover one class of {len(subject.class_names)}")
    if subject.lossy:
        warnings.append("generated clips were read from compressed video: the value holds its losses too")
    return warnings


def _comparability(protocol: Protocol, comparable: bool, features: str) -> str:
    """What the number compares with, by the protocol and by what is said of the features."""
    if protocol.name in UNPUBLISHED:
        own = f"Comparable within {protocol.name} only: no number is published under it elsewhere."
        return f"{own} {features}".rstrip()
    if features:
        return features
    if comparable:
        return f"Comparable with numbers published under {protocol.name}, as far as docs/fvd.md says."
    return "Not comparable with published FVD: the protocol is custom or was not met in full (see warnings)."


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
