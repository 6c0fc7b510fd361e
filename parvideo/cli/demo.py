"""`parvideo demo`: everything, small, in minutes: train, sample, score, a page to look at."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

from parvideo.checks import whole_number
from parvideo.files import config_folder, sha256_file, write_json


def demo(
    out: Path = Path("runs/demo"),
    data: Path | None = None,
    i3d: Path | None = None,
    preset: Literal["small", "smoke"] = "small",
    seed: int = 0,
    split_index: int = 1,
    annotations: Path | None = None,
) -> None:
    """Train a tokenizer and two transformers on videos, generate, score, and write a page.

    Interrupt it at any time; the same command goes on where it was.

    Args:
        out: folder for everything.
        data: folder of your own videos (UCF-101's layout or class folders); a drawn shapes set if not given.
        i3d: weights of the Kinetics-400 I3D for FVD. If not given, your own videos are scored by those that
            `parvideo weights i3d` keeps; without them, and on the shapes set, by a network the demo trains.
        preset: small takes about seven minutes on two cores; smoke only shows that everything runs.
        seed: of everything random.
        split_index: which of UCF-101's three splits of your own videos.
        annotations: folder of UCF-101's lists, if it is neither in nor beside your own videos.

    Raises:
        ValueError: if ``out`` was begun with other settings, or the videos do not fit.
    """
    from parvideo.demo.report import collect_results, go_on, make_page, say
    from parvideo.demo.steps import (
        GENERATORS,
        PRESETS,
        Demo,
        Stages,
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
    from parvideo.metrics.extractors import i3d_weights

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
    say(results, page, go_on(run, results))
    print(f"\n{time.monotonic() - started:.0f} s")
