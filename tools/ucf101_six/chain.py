"""The chain's stages: each is one or two commands of parvideo, begun again where it was stopped."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from parvideo.benchmark.timing import CLOCKS, describe_machine
from parvideo.jobs.stages import Stages
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import load_orders
from parvideo.progress import Progress
from parvideo.sampling import SamplingConfig

PROTOCOL = "ucf101-six-64"
CONFIGS = Path("configs/ucf101_six")


@dataclass(frozen=True)
class Chain:
    """What is trained.

    Attributes:
        tokenizer: config of the tokenizer.
        decoder: config of a further decoder on the same tokens (``decoder_only``); none without.
        generators: configs of generators, by name; each is scored in every order it is trained for.
        views: times of each training clip that are tokenized, each with its mirror image.
        guidance_scale: of classifier-free guidance in all scores.
        temperature: that divides the logits in all scores.
    """

    tokenizer: Path = CONFIGS / "tokenizer_64.yaml"
    decoder: Path | None = None
    generators: dict[str, Path] = field(default_factory=lambda: {"any": CONFIGS / "generator_any.yaml"})
    views: int = 4
    guidance_scale: float = 4.0
    temperature: float = 0.9


@dataclass(frozen=True)
class Sizes:
    """How much is trained and measured; the protocol's and the configs' own by default.

    Attributes:
        seeds: of sampling; each makes a row's clips anew.
        clips: generated clips of a row; the protocol's if None (with another count it is a custom one).
        real_clips: real clips of each split; all if None.
        steps: of every training; the configs' own if None.
        timed_rounds: times that every order is timed, in turn.
        accelerator: ``auto``, ``cpu``, ``gpu``.
        i3d: I3D weights; those that ``parvideo weights i3d`` keeps if None.
    """

    seeds: tuple[int, ...] = (0, 1)
    clips: int | None = None
    real_clips: int | None = None
    steps: int | None = None
    timed_rounds: int = 3
    accelerator: str = "auto"
    i3d: Path | None = None


def run_chain(data: Path, out: Path, chain: Chain, sizes: Sizes) -> None:
    """Do every stage that is not done.

    Raises:
        RuntimeError: naming the command of parvideo that failed.
        ValueError: if a stage was begun with other settings.
    """
    stages = Stages(out, total=5 + 2 * len(chain.generators) + (chain.decoder is not None))
    steps = [f"--trainer.max_steps={sizes.steps}"] if sizes.steps else []
    steps += [f"--trainer.accelerator={sizes.accelerator}"]
    tokenizer, tokens = out / "tokenizer", out / "tokens"
    settings = {"data": str(data.absolute()), "steps": sizes.steps}

    def train(name: str, config: Path, *more: str) -> None:
        stages.run(
            f"train-{name}",
            f"training: {name}",
            settings | {"config": config.read_text(), "more": more},
            lambda: _parvideo("fit", "--config", config, *more, "--out", out / f"{name}-run", *steps),
        )

    def export(name: str, target: Path, *more: object) -> None:
        if not (target / "config.json").exists():
            _parvideo("export", "--run", out / f"{name}-run", "--out", target, "--dtype", "bfloat16", *more)

    train("tokenizer", chain.tokenizer, f"--data.root={data}")
    export("tokenizer", tokenizer)
    stages.run(
        "tokens",
        "tokens",
        settings | {"views": chain.views},
        lambda: _parvideo(
            *("tokenize", "--tokenizer", tokenizer, "--data", data, "--out", tokens),
            *("--views", chain.views, "--flip", "--accelerator", sizes.accelerator),
        ),
    )
    shown = tokenizer
    if chain.decoder is not None:
        more = (f"--data.root={data}", f"--model.init_from={tokenizer}")
        train("decoder", chain.decoder, *more)
        shown = out / "decoder"
        export("decoder", shown)
    sampling = SamplingConfig(guidance_scale=chain.guidance_scale, temperature=chain.temperature)
    measures = {**settings, **asdict(sizes), "sampling": [sampling.guidance_scale, sampling.temperature]}
    measures["i3d"] = str(sizes.i3d)
    stages.run("references", "features of real clips", measures, lambda: _references(data, out, sizes))
    stages.run(
        "reconstructions",
        "reconstructions",
        measures,
        lambda: _evaluate(data, out, "reconstructions", sizes, "--tokenizer", shown),
    )
    models = {}
    for name, config in chain.generators.items():
        train(name, config, f"--data.tokens={tokens}")
        models[name] = out / "models" / name
        export(name, models[name], "--tokenizer", shown)
        rows = [(order.name, seed) for order in load_orders(models[name]) for seed in sizes.seeds]
        stages.run(
            f"score-{name}",
            f"scores of {name}: {len(rows)} rows",
            measures,
            partial(_score, data, out, name, rows, sampling, sizes),
        )
    timings = [(name, order.name) for name in models for order in load_orders(models[name])]
    stages.run("times", "times", measures, lambda: _time(models, timings, sampling, sizes.timed_rounds))


def _references(data: Path, out: Path, sizes: Sizes) -> None:
    for split in ("train", "test"):
        chosen = ["--split", split] if split == "test" else []
        target = out / f"reference-{split}.npz"
        _parvideo(
            *("fvd-stats", "--real", data, "--protocol", PROTOCOL, *chosen),
            *("--out", target, *_counts(sizes)),
        )


def _evaluate(data: Path, out: Path, name: str, sizes: Sizes, *more: object) -> None:
    _parvideo(
        *("evaluate", "--real", data, "--protocol", PROTOCOL, "--out", out / "reports" / f"{name}.json"),
        *("--reference", out / "reference-train.npz", "--held-out", "yes"),
        *("--held-out-reference", out / "reference-test.npz", *_counts(sizes), *more),
    )


def _score(
    data: Path,
    out: Path,
    name: str,
    rows: Sequence[tuple[str, int]],
    sampling: SamplingConfig,
    sizes: Sizes,
) -> None:
    drawn = ("--guidance-scale", sampling.guidance_scale, "--temperature", sampling.temperature)
    for order, seed in rows:
        more = ("--order", order, "--seed", seed, *drawn)
        model = ("--model", out / "models" / name)
        _evaluate(data, out, f"{name}/{order}-seed{seed}", sizes, *model, *more)


def _counts(sizes: Sizes) -> list[object]:
    words: list[object] = ["--accelerator", sizes.accelerator]
    words += ["--real-count", sizes.real_clips] if sizes.real_clips else []
    words += ["--fake-count", sizes.clips] if sizes.clips else []
    return words + (["--i3d", sizes.i3d] if sizes.i3d else [])


def _time(
    models: dict[str, Path], rows: Sequence[tuple[str, str]], config: SamplingConfig, rounds: int
) -> dict[str, Any]:
    """Seconds of one guided clip at batch 1, rows in turn: the transformer's and the decoder's; the best."""
    pipelines = {name: VideoPipeline.from_pretrained(folder) for name, folder in models.items()}
    now = CLOCKS["wall"]
    best = {row: np.full(2, np.inf) for row in rows}
    for _ in Progress(range(1 + rounds), title="timing", unit="round"):
        for name, order in rows:
            start = now()
            tokens = pipelines[name].generate_tokens([0], 0, config, 1, order=order)
            middle = now()
            pipelines[name].decode(tokens, 1)
            best[name, order] = np.minimum(best[name, order], (middle - start, now() - middle))
    return {
        "machine": describe_machine(),
        "rows": [
            {
                "model": name,
                "order": order,
                "steps": pipelines[name].find_order(order).steps,
                "transformer": float(best[name, order][0]),
                "decoder": float(best[name, order][1]),
            }
            for name, order in rows
        ],
    }


def _parvideo(*words: object) -> None:
    command = [sys.executable, "-m", "parvideo.cli", *map(str, words)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise RuntimeError(f"`parvideo {' '.join(command[3:])}` ended with exit code {code}")
