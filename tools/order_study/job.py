"""A job of the study: train one arm with one seed, generate with it, and measure what it generates."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentError
from numpy.typing import NDArray
from torch import Tensor

from parvideo.datasets.writing import write_contact_sheet
from parvideo.files import atomic_path, claim_folder, read_json, sha256_json, write_json
from parvideo.metrics import SmallI3DExtractor
from parvideo.metrics.frechet import frechet_distance
from parvideo.order import GenerationOrder
from parvideo.pipeline import VideoPipeline
from parvideo.sampling import SamplingConfig
from parvideo.synthetic.reader import Reading, analyse_clips, violation_rate
from parvideo.training.cli import fit
from parvideo.training.loggers import read_metrics
from tools.order_study.config import Job, Measured, StudyConfig, order_arguments, parse_study

STUDY, REFERENCE = "study.json", "reference.npz"


def read_study(out: Path) -> StudyConfig:
    """The settings that the study in ``out`` was begun with.

    Raises:
        FileNotFoundError: if none was begun there.
        ValueError: if they are of another version of this tool.
    """
    try:
        return parse_study(read_json(out / STUDY))
    except ArgumentError as error:
        raise ValueError(
            f"{out / STUDY} is of another version of this study ({error}); begin another folder"
        ) from error


def result_path(out: Path, job: Job) -> Path:
    """Where a job's figures lie once it is done."""
    return out / "results" / f"{job.name}.json"


def run_job(out: Path, arm: str, seed: int, budget: int | None = None) -> None:
    """Do one job of a study that was begun by `run`; a job that is done is not done again.

    Args:
        out: the study's folder.
        arm: name of the arm.
        seed: of training and sampling.
        budget: training steps; as the generator's config says if None.
    """
    study = read_study(out)
    job = Job(study.arm(arm), budget, seed)
    path = result_path(out, job)
    if path.exists():
        return
    torch.set_num_threads(study.threads)
    fit(fit_arguments(study, out, job))  # goes on where a stopped training was
    write_json(path, [asdict(row) for row in measure(study, out, job)])


def claim_arms(study: StudyConfig, out: Path) -> None:
    """Note what each arm is, so that its results are never taken for another's.

    Raises:
        ValueError: if an arm of that name was another one.
    """
    for arm in study.arms:
        claim_folder(out / "arms" / f"{arm.name}.json", order_arguments(arm), f"results of arm {arm.name}")


def times_stage(study: StudyConfig) -> str:
    """The name of the stage that times these rows."""
    return f"times {sha256_json(list(study.rows))[:8]}"


def run_folder(out: Path, job: Job) -> Path:
    """The run folder of a job's training."""
    return out / "runs" / job.name


def fit_arguments(study: StudyConfig, out: Path, job: Job) -> list[str]:
    """The command line of `parvideo fit` that trains an arm."""
    return [
        *("--config", str(study.generator), f"--data.tokens={out / 'tokens'}", f"--data.seed={job.seed}"),
        *(f"--model.{name}={_word(value)}" for name, value in order_arguments(job.arm).items()),
        *(() if job.budget is None else (f"--trainer.max_steps={job.budget}",)),
        f"--seed_everything={job.seed}",
        f"--out={run_folder(out, job)}",
    ]


def _word(value: Any) -> str:
    """A setting as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def measure(study: StudyConfig, out: Path, job: Job) -> list[Measured]:
    """Generate clips in each order of the arm with each guidance scale, and measure them."""
    run = run_folder(out, job)
    losses = read_metrics(run)
    pipeline = VideoPipeline.from_pretrained(run)
    measured = []
    for place, (row, spec) in enumerate(job.arm.rows.items()):
        loss = "val/loss" if place == 0 else f"val/loss_{spec.name}"
        order = pipeline.find_order(spec.name)
        for scale in study.guidance:
            clips, labels = generate(study, pipeline, order, scale, job.seed)
            if job.seed == study.seeds[0]:
                name = row.replace(" ", "-") + ("" if job.budget is None else f"-{job.budget}steps")
                _picture(out / "pictures" / f"{name}-guidance{scale:g}.webp", study, clips)
            figures = measure_clips(study, out, clips, labels)
            figures |= {"val_loss": losses[loss][-1][1], "budget": job.budget}
            measured.append(Measured(row, job.seed, scale, order.steps, **figures))
    return measured


def generate(
    study: StudyConfig, pipeline: VideoPipeline, order: GenerationOrder, scale: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Clips uint8 ``[B, T, H, W, 3]``, the classes in turn, and the classes asked for ``[B]``."""
    labels = torch.arange(study.clips) % len(pipeline.class_names)
    config = SamplingConfig(guidance_scale=scale, top_k=study.top_k)
    tokens = pipeline.generate_tokens(labels, seed, config, study.batch_size, order=order)
    return pipeline.decode(tokens, study.batch_size), labels


def measure_clips(study: StudyConfig, out: Path, clips: Tensor, labels: Tensor) -> dict[str, Any]:
    """The figures of `Measured` that come from pixels.

    Args:
        study: says how many clips are read.
        out: the study's folder, with feature network and reference.
        clips: uint8 ``[B, T, H, W, 3]``.
        labels: the classes asked for ``[B]``.
    """
    reference: NDArray[np.float64] = np.load(out / REFERENCE, allow_pickle=False)["features"]
    found = features(SmallI3DExtractor.load(out / "classifier"), clips)
    settings = study.data
    readings = analyse_clips(clips[: study.read_clips], settings.fps, settings.num_classes)
    right = [reading.label == label for reading, label in zip(readings, labels.tolist(), strict=False)]
    errors = [min(reading.motion_error, 64.0) for reading in readings]
    return {
        "fvd": frechet_distance(reference, found).value,
        "class_accuracy": float(np.mean(right)),
        "violations": violation_rate(readings),
        "broken": float(np.mean([not reading.whole for reading in readings])),
        "violations_per_clip": float(np.mean([len(reading.violations) for reading in readings])),
        "motion_error": float(np.median(errors)),
        "kinds": _kinds(readings),
    }


def features(network: SmallI3DExtractor, clips: Tensor) -> NDArray[np.float64]:
    """Features float64 ``[B, dim]`` of clips uint8 ``[B, T, H, W, 3]``."""
    return torch.cat([network(part) for part in clips.split(32)]).double().numpy()


def _kinds(readings: list[Reading]) -> dict[str, int]:
    shown = [{violation.kind for violation in reading.violations} for reading in readings]
    return {kind: sum(kind in one for one in shown) for kind in sorted(set().union(*shown))}


def _picture(path: Path, study: StudyConfig, clips: Tensor) -> None:
    """The first clip of each class, side by side."""
    names = study.data.class_names
    with atomic_path(path) as temporary:
        write_contact_sheet(temporary, clips[: len(names)], study.data.fps, 8, names, scale=3)
