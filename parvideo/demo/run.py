"""The demo: all its steps in turn, and the page at the end."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

from parvideo.checks import whole_number
from parvideo.demo.report import collect_results, make_page, next_commands, print_summary
from parvideo.demo.steps import (
    GENERATORS,
    PRESETS,
    Demo,
    make_samples,
    make_tokens,
    make_toy_data,
    measure_tokenizer,
    score,
    time_generators,
    train,
    train_feature_network,
    train_tokenizer,
)
from parvideo.files import config_folder, sha256_file, write_json
from parvideo.jobs.stages import Stages
from parvideo.metrics.extractors import i3d_weights


def run_demo(
    out: Path,
    data: Path | None,
    i3d: Path | None,
    preset: str,
    seed: int,
    split_index: int,
    annotations: Path | None,
) -> None:
    """Run the demo, or go on with it.

    Args:
        out: folder for everything.
        data: folder of the user's videos; the drawn shapes set if not given.
        i3d: weights of the Kinetics-400 I3D; see `parvideo demo --help` for what happens without.
        preset: name of one of `PRESETS`.
        seed: of everything random.
        split_index: which of UCF-101's splits of the user's videos.
        annotations: folder of UCF-101's lists, if it is neither in nor beside them.

    Raises:
        ValueError: if ``out`` was begun with other settings, or the videos do not fit.
        FileNotFoundError: if videos or weights are not there.
    """
    whole_number(seed, "seed", most=2**32 - 1)  # Lightning takes no more
    for path in (data, i3d):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"there is no {path}")
    if data is not None and i3d is None:
        if i3d_weights.is_cached():
            i3d = i3d_weights.find()
        else:
            print(f"FVD will be by a small network trained here; `{i3d_weights.COMMAND}` gets the real one")
    started = time.monotonic()
    run = Demo(out, data, i3d, PRESETS[preset], seed, split_index, annotations)
    if data is None and (annotations is not None or split_index != 1):
        raise ValueError(
            f"split_index is {split_index} and annotations is {annotations}, but there is no data: the toy "
            "set has its own lists"
        )
    stages = Stages(out, total=6 + 3 * len(GENERATORS))
    settings: dict[str, Any] = {
        "data": str(data.resolve()) if data else None,
        "preset": dataclasses.asdict(run.preset),
        "form": run.form,
        "seed": seed,
    }
    if data is not None:  # looked at before anything is begun in the folder
        settings["videos"] = run.check_videos()

    def config(name: str) -> dict[str, Any]:
        return settings | {"config": sha256_file(config_folder() / "demo" / f"{name}.yaml")}

    stages.run("data", "videos to train on", settings, partial(make_toy_data, run))
    stages.run("tokenizer", "training the tokenizer", config("tokenizer"), partial(train_tokenizer, run))
    quality = stages.run(
        "reconstruct", "reconstructing held-out clips", settings, partial(measure_tokenizer, run)
    )
    stages.run("tokens", "turning videos into tokens", settings, partial(make_tokens, run))
    classifier = stages.run(
        "classifier",
        "training the classifier: features and classes",
        settings,
        partial(train_feature_network, run),
    )
    tokens = {"tokens": out / "tokens", "seed": seed}
    for name, shown in GENERATORS.items():
        title = f"training the {shown} transformer"
        stages.run(name, title, config(name), partial(train, run, name, tokens))
    samples, reports = {}, {}
    for name, shown in GENERATORS.items():
        title = f"generating clips, {shown}"
        samples[name] = stages.run(f"sample {name}", title, settings, partial(make_samples, run, name))
    times = stages.run("time", "timing 1x against 4x", settings, partial(time_generators, run))
    features = settings | {"i3d": sha256_file(i3d) if i3d else None}
    for name, shown in GENERATORS.items():
        title = f"scoring, {shown}"
        reports[name] = stages.run(f"score {name}", title, features, partial(score, run, name))
    results = collect_results(run, quality, classifier, samples, times, reports, stages.seconds)
    write_json(out / "results.json", results)
    page = make_page(run, results)
    print_summary(results, page, next_commands(run, results))
    print(f"\n{time.monotonic() - started:.0f} s")
