"""Study what decoding distant regions together costs in quality, and what it buys, on data anyone can make.

    python -m tools.order_study run --config configs/order_study/reduced.yaml --out runs/study

makes the objects set, trains a tokenizer on it and each arm's transformer on its tokens with equal budgets,
generates clips with each, measures them, and writes ``report.md``, ``results.json`` and
``quality-against-steps.svg``. It can be stopped at any moment; the same command goes on. Jobs are
independent: ``python -m tools.order_study job --out runs/study --arm 4x --seed 1`` does one of them, on
another machine that shares the folder too. ``python -m tools.order_study report --out runs/study`` writes the
report of the jobs that are done so far.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor

from parvideo.benchmark.timing import CLOCKS
from parvideo.datasets import ClipDataset, build_cache, load_videos
from parvideo.demo.steps import draw_clips
from parvideo.files import atomic_path, sha256_json, write_json, write_text
from parvideo.jobs.options import TokenizeOptions
from parvideo.jobs.stages import Stages
from parvideo.jobs.tokenize import tokenize
from parvideo.metrics import train_classifier
from parvideo.order import OrderSpec
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import load_tokenizer
from parvideo.progress import Progress
from parvideo.sampling import SamplingConfig
from parvideo.synthetic.objects import write_objects_data
from parvideo.training.cli import fit
from tools.order_study.config import Job, Measured, StudyConfig, Timed
from tools.order_study.job import (
    REFERENCE,
    STUDY,
    claim_arms,
    features,
    measure_clips,
    read_study,
    result_path,
    run_folder,
    run_job,
    times_stage,
)
from tools.order_study.report import draw, report_text, write_report
from tools.order_study.results import read_results
from tools.plotting import new_figure


def run(study: StudyConfig, out: Path) -> None:
    """Run a study, or go on with it.

    Args:
        study: what is trained and measured.
        out: folder for everything.

    Raises:
        ValueError: if ``out`` was begun with another study that is not this one with fewer arms or seeds.
        RuntimeError: if a job fails; the message names its log.
        ModuleNotFoundError: if matplotlib, which draws the report's picture, is not installed.
    """
    new_figure(1, 1)  # so that a missing matplotlib shows now, and not after hours
    settings = {**asdict(study), "tokenizer": str(study.tokenizer), "generator": str(study.generator)}
    stages = Stages(out, 7)
    stages.path.parent.mkdir(parents=True, exist_ok=True)
    growing = ("arms", "compare", "goals", "seeds", "workers")
    stages.run(
        "study", "settings", {name: settings[name] for name in settings if name not in growing}, lambda: None
    )
    claim_arms(study, out)
    write_json(out / STUDY, settings)
    torch.set_num_threads(study.threads * study.workers)
    for name, title, work in (
        ("data", "objects set", make_data),
        ("tokenizer", "tokenizer", train_tokenizer),
        ("tokens", "tokens", make_tokens),
        ("classifier", "feature network and references", train_feature_network),
    ):
        stages.run(name, title, {}, lambda work=work: work(study, out))  # type: ignore[misc]
    jobs = sha256_json([job.name for job in study.jobs])
    stages.run(f"arms {jobs[:8]}", "arms", {}, lambda: run_jobs(study, out))
    torch.set_num_threads(study.threads)
    stages.run(times_stage(study), "times", {}, lambda: time_rows(study, out))
    write_report(out, study)
    print((out / "report.md").read_text())


def job(out: Path, arm: str, seed: int, budget: int | None = None) -> None:
    """Do one job of a study that was begun; see `tools.order_study.job.run_job`.

    Args:
        out: the study's folder.
        arm: name of the arm.
        seed: of training and sampling.
        budget: training steps; as the generator's config says if not given.
    """
    run_job(out, arm, seed, budget)


def report(out: Path) -> None:
    """Write the report of a study, also of one that is not finished: of the jobs that are done.

    Args:
        out: the study's folder.
    """
    write_report(out, read_study(out))


def show(results: Path, picture: Path | None = None, page: Path | None = None) -> None:
    """Print the report of a results.json, such as docs/study.json.

    Args:
        results: the file.
        picture: where to draw its picture, if anywhere.
        page: a page that takes the report in, below its line ``<!-- report -->``, which what follows gives
            way to.

    Raises:
        ValueError: if the page has no such line.
    """
    found = read_results(results)
    text = report_text(found)
    print(text)
    if picture is not None:
        draw(found, picture)
    if page is not None:
        above, line, _ = page.read_text(encoding="utf-8").partition("<!-- report -->\n")
        if not line:
            raise ValueError(f"{page} has no line <!-- report -->, below which the report would go")
        write_text(page, f"{above}{line}\n{text}\n")


def make_data(study: StudyConfig, out: Path) -> None:
    """Write the objects set and decode it once."""
    write_objects_data(out / "data", study.data, show_progress=True)
    build_cache(out / "frames", load_videos(out / "data", "all"), study.size, workers=2, show_progress=True)


def train_tokenizer(study: StudyConfig, out: Path) -> None:
    """Train the one tokenizer."""
    data = [f"--data.root={out / 'data'}", f"--data.cache={out / 'frames'}"]
    fit(["--config", str(study.tokenizer), *data, f"--out={out / 'tokenizer'}"])


def make_tokens(study: StudyConfig, out: Path) -> None:
    """Tokenize the objects set."""
    options = TokenizeOptions(
        out / "tokenizer", out / "data", out / "tokens", views=study.views, batch_size=16
    )
    tokenize(options)


def train_feature_network(study: StudyConfig, out: Path) -> None:
    """Train FVD's feature network, and measure held-out clips and their reconstructions with all measures.

    What the reader finds wrong with reconstructions is the tokenizer's fault: no transformer can be better.
    """
    clips, labels = split_clips(study, out, "train", study.classifier_clips, 0)
    with Progress(title="training feature network", unit="step", total=study.classifier_steps) as bar:
        network = train_classifier(
            clips, labels, study.data.num_classes, study.classifier_steps, on_step=lambda *_: bar.update()
        )
    network.save(out / "classifier")
    reference, _ = split_clips(study, out, "test", study.reference_clips, 1)
    with atomic_path(out / REFERENCE) as temporary:
        np.savez(temporary, features=features(network, reference))
    real, labels = split_clips(study, out, "test", study.clips, 2)
    tokenizer = load_tokenizer(out / "tokenizer")
    with torch.inference_mode():
        parts = [to_uint8(tokenizer.decode(tokenizer.encode(to_float(part)))) for part in real.split(16)]
    rows = [
        Measured(name, 0, 1.0, 0, 0.0, **measure_clips(study, out, found, labels))
        for name, found in (("real clips", real), ("reconstructions", torch.cat(parts)))
    ]
    write_json(out / "references.json", [asdict(row) for row in rows])


def split_clips(
    study: StudyConfig, out: Path, split: Literal["train", "test"], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """``count`` clips at random places, uint8 ``[count, T, H, W, 3]``, and their labels ``[count]``."""
    clips = ClipDataset(
        load_videos(out / "data", split),
        study.frames,
        study.size,
        fps=study.data.fps,
        seed=seed,
        cache=out / "frames",
    )
    return draw_clips(clips, count, seed)


def run_jobs(study: StudyConfig, out: Path) -> None:
    """Do all jobs, several at a time, each in a process of its own that logs to ``logs/``."""
    with (
        Progress(title="jobs", unit="job", total=len(study.jobs)) as bar,
        ThreadPoolExecutor(study.workers) as pool,
    ):
        running = [pool.submit(_job_process, out, job) for job in study.jobs]
        try:
            for done in as_completed(running):
                done.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _job_process(out: Path, job: Job) -> None:
    if result_path(out, job).exists():
        return
    log = out / "logs" / f"{job.name}.log"
    log.parent.mkdir(exist_ok=True)
    words = ["job", f"--out={out}", f"--arm={job.arm.name}", f"--seed={job.seed}"]
    words += [] if job.budget is None else [f"--budget={job.budget}"]
    with log.open("a") as file:
        done = subprocess.run(
            [sys.executable, "-m", "tools.order_study", *words], stdout=file, stderr=file, check=False
        )
    if done.returncode:
        raise RuntimeError(f"job {job.name} ended with {done.returncode}; see {log}")


def time_rows(study: StudyConfig, out: Path) -> list[dict[str, Any]]:
    """Time one guided batch of each row, the rows taking turns; the best round counts, the first does not."""
    clock = CLOCKS[study.clock]
    config = SamplingConfig(guidance_scale=max(study.guidance), top_k=study.top_k)
    pipelines: dict[str, tuple[VideoPipeline, OrderSpec]] = {}
    for arm in study.arms:
        job = Job(arm, arm.trainings[0], study.seeds[0])
        pipeline = VideoPipeline.from_pretrained(run_folder(out, job))
        pipelines |= {name: (pipeline, spec) for name, spec in arm.rows.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in pipelines}
    for _ in Progress(range(1 + study.timed_rounds), title="timing", unit="round"):
        for name, (pipeline, spec) in pipelines.items():
            labels = torch.arange(study.timed_clips) % len(pipeline.class_names)
            started = clock()
            tokens = pipeline.generate_tokens(
                labels, 0, config, study.timed_clips, order=pipeline.find_order(spec.name)
            )
            generated = clock()
            pipeline.decode(tokens, study.timed_clips)
            taken[name].append((generated - started, clock() - generated))
    best = {name: np.min(seconds[1:], axis=0) / study.timed_clips for name, seconds in taken.items()}
    return [asdict(Timed(name, float(both[0]), float(both[1]))) for name, both in best.items()]


if __name__ == "__main__":
    auto_cli([run, job, report, show], as_positional=False, prog="python -m tools.order_study")
