"""The parts of a report that need classes or a second split: held-out FVD, KVD by class, class accuracy.

Published FVD of UCF-101 mostly takes the training split as the real set, which a generator that copies its
training clips satisfies best. So a report may hold the same generated clips against the held-out split too.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from parvideo.evaluation.feature_store import FeatureSet
from parvideo.metrics.frechet import FrechetFormula, frechet_distance
from parvideo.metrics.fvd import describe
from parvideo.metrics.kvd import kernel_distance
from parvideo.metrics.linear_probe import fit_probe
from parvideo.metrics.uncertainty import Ids

DRAWS = 10
"""Of training clips, as many as there are held-out ones, for a comparison at equal counts."""
_SHOWN = 20


@dataclass(frozen=True)
class HeldOut:
    """The held-out side of an evaluation.

    Attributes:
        real: features of real clips of the held-out split.
        fake: of the generated clips; of reconstructions of the held-out clips where the metric is rFVD.
        protocol_hash: of the protocol with its split changed.
        description: of the real clips, with the hash of their list; JSON.
    """

    real: FeatureSet
    fake: FeatureSet
    protocol_hash: str
    description: dict[str, Any]


def held_out_section(
    train: FeatureSet,
    fake: FeatureSet,
    held_out: HeldOut,
    formula: FrechetFormula,
    paired: bool,
    seed: int = 0,
) -> dict[str, Any]:
    """FVD against the held-out split, and against equally many training clips.

    FVD falls with the number of clips, and the held-out split is the smaller. So the training split's value
    is given at the held-out split's counts as well: the mean over `DRAWS` random draws of training clips, as
    many of each class as are held out. A generator that copies training clips shows as a held-out value above
    that mean.

    Args:
        train: features of real training clips.
        fake: of the clips scored against them.
        held_out: the other side.
        formula: of the distance.
        paired: reconstructions, where each real clip has its own; then rows are drawn in pairs.
        seed: of the draws.

    Raises:
        ValueError: if features do not fit, or (paired) ids differ.
    """
    if paired and not np.array_equal(held_out.real.ids, held_out.fake.ids):
        raise ValueError("held-out reconstructions and originals have different ids; rFVD pairs them by id")
    result = describe(
        held_out.real.features.astype(np.float64),
        held_out.fake.features.astype(np.float64),
        held_out.real.groups,
        held_out.fake.groups,
        formula,
    )
    random = np.random.default_rng(seed)
    own, made = train.features.astype(np.float64), fake.features.astype(np.float64)
    values = []
    for _ in range(DRAWS):
        rows = _draw(train.labels, held_out.real.labels, random)
        values.append(frechet_distance(own[rows], made[rows] if paired else made, formula).value)
    jackknife, infinity, floor = result.jackknife, result.infinity, result.floor
    return {
        "fvd": result.fvd,
        "standard_error": None if jackknife is None else jackknife.standard_error,
        "fvd_infinity": None if infinity is None else infinity.value,
        "kvd": result.kvd,
        "floor": None
        if floor is None
        else {"value": floor.value, "count": floor.count, "scaled": floor.scaled},
        "real_count": result.real_count,
        "fake_count": result.fake_count,
        "training_at_this_count": {
            "fvd": float(np.mean(values)),
            "std_over_draws": float(np.std(values, ddof=1)),
            "count": len(rows),
            "draws": DRAWS,
        },
        "warnings": result.warnings,
        "protocol_hash": held_out.protocol_hash,
        "real": held_out.description,
    }


def class_section(
    real: FeatureSet, fake: FeatureSet, names: list[str], held_out: HeldOut | None
) -> list[dict[str, Any]]:
    """KVD of each class's generated clips against its real ones; None where either has fewer than two.

    KVD, because unlike FVD it has no bias that grows as clips get few.
    """
    rows = []
    for label, name in enumerate(names):
        own, made = real.labels == label, fake.labels == label
        row: dict[str, Any] = {"class": name, "real": int(own.sum()), "generated": int(made.sum())}
        row["kvd"] = _kvd(real, own, fake, made)
        if held_out is not None:
            row["held_out_kvd"] = _kvd(
                held_out.real, held_out.real.labels == label, held_out.fake, held_out.fake.labels == label
            )
        rows.append(row)
    return rows


def probe_section(
    train: FeatureSet, fake: FeatureSet, names: list[str], held_out: FeatureSet, seed: int = 0
) -> dict[str, Any] | str:
    """How often a linear probe reads the right class, of held-out real clips and of generated ones.

    Args:
        train: features of real training clips, from which the probe learns.
        fake: of generated clips, whose labels are what was asked for.
        names: of the classes.
        held_out: features of real clips that the probe never saw.
        seed: of its cross validation.

    Returns:
        The figures, or a sentence on why there are none.
    """
    known = fake.labels >= 0
    if len(names) < 2 or train.classes < 2:
        return "no class accuracy: there is one class"
    if not known.all():
        return f"no class accuracy: {int((~known).sum())} of {len(fake)} generated clips have no label"
    videos = len(np.unique(train.groups))
    if videos < 2:
        return "no class accuracy: a probe takes clips of at least 2 training videos"
    probe = fit_probe(
        train.features.astype(np.float64),
        train.labels,
        train.groups,
        len(names),
        folds=min(5, videos),
        seed=seed,
    )
    said = {
        name: probe.classify(side.features.astype(np.float64))
        for name, side in (("held_out", held_out), ("generated", fake))
    }
    asked = {"held_out": held_out.labels, "generated": fake.labels}
    return {
        "kind": "ridge regression on standardized features of real training clips",
        "penalty": probe.penalty,
        "train_count": len(train),
        "cross_validated": probe.cross_validated,
        "chance": 1 / len(names),
        **{name: _accuracy(said[name], asked[name], len(names)) for name in said},
        "confusion": {name: _confusion(said[name], asked[name], len(names)) for name in said},
    }


def render_sections(report: dict[str, Any]) -> list[str]:
    """The lines of the table for people."""
    lines: list[str] = []
    name, held = report["metric"], report.get("held_out")
    if held is not None:
        own = report["repeats"][0]
        same = held["training_at_this_count"]
        lines += [
            "",
            f"{'':<28}{'training split':>16}{'held-out split':>16}",
            _row(name, own["fvd"], held["fvd"]),
            _row("standard error", own["standard_error"], held["standard_error"]),
            _row(f"{name}-infinity", own["fvd_infinity"], held["fvd_infinity"]),
            _row("KVD", own["kvd"], held["kvd"]),
            _row("real against real, scaled", *(_floor(side) for side in (own, held))),
            f"{'real / generated clips':<28}"
            + "".join(f"{side['real_count']} / {side['fake_count']}".rjust(16) for side in (own, held)),
            _row(f"{name} at {same['count']} real clips", same["fvd"], held["fvd"]),
        ]
    probe = report.get("class_accuracy")
    if isinstance(probe, dict):
        real, made = probe["held_out"], probe["generated"]
        lines += [
            "",
            f"class accuracy by a linear probe: generated {_percent(made)}, real held-out {_percent(real)}, "
            f"chance {probe['chance']:.1%}",
        ]
    elif probe:
        lines += ["", probe]
    classes = report.get("classes") or []
    if 1 < len(classes) <= _SHOWN:
        wide = max(len("class"), *(len(row["class"]) for row in classes))
        lines += ["", f"{'class':<{wide}}{'real':>7}{'made':>7}{'KVD':>12}{'held out':>12}{'read right':>12}"]
        for label, row in enumerate(classes):
            right = None if not isinstance(probe, dict) else probe["generated"]["by_class"][label]
            lines.append(
                f"{row['class']:<{wide}}{row['real']:>7}{row['generated']:>7}{_figure(row['kvd']):>12}"
                f"{_figure(row.get('held_out_kvd')):>12}{'-' if right is None else f'{right:.1%}':>12}"
            )
    elif len(classes) > _SHOWN:
        lines += ["", f"KVD of each of {len(classes)} classes is in the JSON"]
    return lines


def _draw(labels: Ids, wanted: Ids, random: np.random.Generator) -> Ids:
    """Random rows of ``labels``, each label as often as in ``wanted`` where there are so many; sorted."""
    rows = [
        random.permutation(np.flatnonzero(labels == label))[: np.sum(wanted == label)]
        for label in np.unique(wanted)
    ]
    return np.sort(np.concatenate(rows))


def _kvd(real: FeatureSet, own: Any, fake: FeatureSet, made: Any) -> float | None:
    if own.sum() < 2 or made.sum() < 2:
        return None
    return kernel_distance(real.features[own], fake.features[made])


def _accuracy(said: Ids, asked: Ids, classes: int) -> dict[str, Any]:
    right = said == asked
    share = float(right.mean())
    return {
        "accuracy": share,
        "standard_error": math.sqrt(share * (1 - share) / len(right)),  # as if clips were independent
        "count": len(right),
        "by_class": [
            float(right[asked == label].mean()) if (asked == label).any() else None
            for label in range(classes)
        ],
    }


def _confusion(said: Ids, asked: Ids, classes: int) -> list[list[int]]:
    """Rows: the class asked for; columns: the class read."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (asked, said), 1)
    return table.tolist()


def _row(name: str, *values: float | None) -> str:
    return f"{name:<28}" + "".join(f"{_figure(value):>16}" for value in values)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def _floor(side: dict[str, Any]) -> float | None:
    return None if side["floor"] is None else side["floor"]["scaled"]


def _percent(side: dict[str, Any]) -> str:
    return f"{side['accuracy']:.1%} +- {side['standard_error']:.1%} of {side['count']}"
