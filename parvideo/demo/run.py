"""The demo: all its stages in turn; after each the page is written anew, so that it fills as they end."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from parvideo.checks import whole_number
from parvideo.demo.published import PUBLISHED, find_models, make_showcase, models_folder
from parvideo.demo.report import PAGE, collect_results, make_page, next_commands, print_summary
from parvideo.demo.scoring import make_samples, measure_tokenizer, score, time_orders, train_feature_network
from parvideo.demo.steps import (
    ORDERS,
    PRESETS,
    Demo,
    make_tokens,
    make_toy_data,
    train_generator,
    train_tokenizer,
)
from parvideo.files import config_folder, sha256_file, sha256_json, write_json
from parvideo.jobs.stages import Stages
from parvideo.metrics.extractors import i3d_weights
from parvideo.pretrained.folder import fingerprint


@dataclasses.dataclass(frozen=True)
class Step:
    """A stage of the demo: its name, what it does, what its result depends on, and the work."""

    name: str
    title: str
    settings: dict[str, Any]
    work: Callable[[], Any]


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
        data: folder of the user's videos; the drawn objects set if not given.
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
    started, worked = time.monotonic(), time.process_time()
    run = Demo(out, data, i3d, PRESETS[preset], seed, split_index, annotations)
    if data is None and (annotations is not None or split_index != 1):
        raise ValueError(
            f"split_index is {split_index} and annotations is {annotations}, but there is no data: the toy "
            "set has its own lists"
        )
    settings: dict[str, Any] = {
        "data": str(data.resolve()) if data else None,
        "preset": dataclasses.asdict(run.preset),
        "form": run.form,
        "seed": seed,
    }
    if data is not None:  # looked at before anything is begun in the folder
        settings["videos"] = run.check_videos()
    steps = plan(run, settings)
    stages = Stages(out, total=len(steps))
    found: dict[str, Any] = {}
    titles = [(step.name, step.title) for step in steps]
    for step in steps:
        done_before = stages.record.get(step.name, {"done": False})["done"]
        found[step.name] = stages.run(step.name, step.title, step.settings, step.work)
        if not done_before or step is steps[-1]:
            make_page(run, found, titles, stages.seconds)
        if step is steps[0]:
            print(f"The page fills as stages end: {out / PAGE}", flush=True)
    results = collect_results(run, found, stages.seconds)
    write_json(out / "results.json", results)
    print_summary(results, out / PAGE, next_commands(run))
    print(f"\n{time.monotonic() - started:.0f} s, {time.process_time() - worked:.0f} s of processor time")


def plan(run: Demo, settings: dict[str, Any]) -> list[Step]:
    """The demo's stages, in turn: what can be looked at first comes first.

    Args:
        run: the demo.
        settings: what everything depends on.
    """

    def config(name: str) -> dict[str, Any]:
        return settings | {"config": sha256_file(config_folder() / "demo" / f"{name}.yaml")}

    steps = [Step("data", "videos to train on", settings, partial(make_toy_data, run))]
    if models := find_models(models_folder()):
        known = {folder.name: fingerprint(folder) for folder in models}
        work = partial(make_showcase, models, run.out / PUBLISHED, run.seed)
        title = "sampling the models that come with the clone"
        chosen = {"models": known, "seed": run.seed}
        # The name holds them, so that models that come later are sampled too, and nothing else is done anew.
        steps.append(Step(f"{PUBLISHED} {sha256_json(chosen)[:8]}", title, chosen, work))
    title = "training the classifier: features and classes"
    steps += [
        Step("classifier", title, settings, partial(train_feature_network, run)),
        Step("tokenizer", "training the tokenizer", config("tokenizer"), partial(train_tokenizer, run)),
        Step("reconstruct", "reconstructing held-out clips", settings, partial(measure_tokenizer, run)),
        Step("tokens", "turning videos into tokens", settings, partial(make_tokens, run)),
        Step("generator", "training the transformer", config("generator"), partial(train_generator, run)),
    ]
    for shown in ORDERS:
        title = f"generating clips, {shown}"
        steps.append(Step(f"sample {shown}", title, settings, partial(make_samples, run, shown)))
    steps.append(Step("time", "timing 1x against 4x", settings, partial(time_orders, run)))
    features = settings | {"i3d": sha256_file(run.i3d) if run.i3d else None}
    for shown in ORDERS:
        steps.append(Step(f"score {shown}", f"scoring, {shown}", features, partial(score, run, shown)))
    return steps
