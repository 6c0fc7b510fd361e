"""The demo's measuring steps: what reconstructions keep, what classifier and exact reader see, FVD."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parvideo.demo.steps import ORDERS, Demo, draw_clips
from parvideo.evaluation.report import render
from parvideo.files import AnyPath, atomic_path
from parvideo.jobs.evaluate import evaluate
from parvideo.jobs.generation_options import GenerationOptions
from parvideo.jobs.options import EvaluateOptions, ExtractionOptions, MeasureOptions, SampleOptions
from parvideo.jobs.protocol_options import ProtocolOptions
from parvideo.jobs.sample import sample
from parvideo.metrics import SmallI3DExtractor, train_classifier
from parvideo.metrics.reconstruction import ReconstructionQuality
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import load_tokenizer
from parvideo.progress import Progress
from parvideo.synthetic.reader import analyse_clips

HELD_OUT = "held_out.npz"
"""Held-out clips beside their reconstructions."""


def train_feature_network(demo: Demo) -> dict[str, float]:
    """Train the classifier: features for FVD, and classes. Says how it does on held-out clips."""
    folder = demo.out / "classifier"
    training = demo.clips("train", "random")
    clips, labels = draw_clips(training, demo.preset.classifier_clips, demo.seed)
    steps = demo.preset.classifier_steps
    classes = len(training.class_names or [])
    with Progress(title="training the classifier", unit="step", total=steps) as bar:

        def on_step(step: int, loss: float) -> None:
            bar.update()
            bar.show({"loss": loss})

        network = train_classifier(clips, labels, classes, steps, seed=demo.seed, on_step=on_step)
    network.save(folder)
    real, real_labels = _held_out(demo)
    right = accuracy(network, real, real_labels)
    return {"held_out_accuracy": right, "held_out_clips": len(real), "classes": classes}


def measure_tokenizer(demo: Demo) -> dict[str, float]:
    """Reconstruct the held-out clips; keep them beside the originals, and return the figures."""
    real, labels = _held_out(demo)
    tokenizer = load_tokenizer(demo.out / "tokenizer")
    quality = ReconstructionQuality()
    made = []
    with torch.inference_mode(), Progress(title="reconstructing", unit="clip", total=len(real)) as bar:
        for part in real.split(16):
            clips = to_float(part)
            decoded = tokenizer.decode(tokenizer.encode(clips))
            quality.update(decoded, clips)
            made.append(to_uint8(decoded))
            bar.update(len(part))
    with atomic_path(demo.out / HELD_OUT) as temporary:
        np.savez(temporary, real=real.numpy(), reconstructed=torch.cat(made).numpy(), labels=labels.numpy())
    figures = {name: value.item() for name, value in quality.compute().items()}
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def make_samples(demo: Demo, shown: str) -> dict[str, float]:
    """Generate clips of every class in an order, and say what the classifier and the exact reader see.

    ``class_accuracy`` is the share of clips that the classifier takes for the class asked for. Of the objects
    set, ``read_accuracy`` is the exact reader's share, and ``whole`` that of clips with all their objects.
    """
    model, out = demo.out / "generator", demo.out / "samples" / shown
    names = VideoPipeline.from_pretrained(model).class_names
    num = max(1, demo.preset.samples // len(names))
    made = sample(SampleOptions(model, out, num=num, generation=options(demo, shown), batch_size=32))
    print(made, file=sys.stderr)
    clips, labels = load_samples(out)
    network = SmallI3DExtractor.load(demo.out / "classifier")
    figures = {"class_accuracy": accuracy(network, clips, labels), "clips": float(len(clips))}
    return figures | read_exactly(demo, clips, labels)


def options(demo: Demo, shown: str) -> GenerationOptions:
    """How clips are generated in the order that is shown under this name."""
    preset = demo.preset
    return GenerationOptions(
        demo.seed,
        temperature=preset.temperature,
        top_p=preset.top_p,
        guidance_scale=preset.guidance_scale,
        order=ORDERS[shown],
    )


def read_exactly(demo: Demo, clips: Tensor, labels: Tensor) -> dict[str, float]:
    """What the exact reader sees in some clips, the classes in turn; nothing of the user's videos.

    Args:
        demo: says how many clips are read.
        clips: uint8 ``[B, T, H, W, 3]``.
        labels: their classes ``[B]``.
    """
    if demo.data is not None:
        return {}
    chosen = in_turn(labels)[: demo.preset.read_clips]
    readings = analyse_clips(clips[chosen], demo.form["fps"], demo.preset.toy["num_classes"])
    right = [reading.label == label for reading, label in zip(readings, labels[chosen].tolist(), strict=True)]
    return {
        "read_accuracy": float(np.mean(right)),
        "whole": float(np.mean([reading.whole for reading in readings])),
        "clips_read": float(len(readings)),
    }


def in_turn(labels: Tensor) -> Tensor:
    """Places ``[B]`` of clips, by their labels ``[B]``: the first of every class, the second, and so on."""
    seen: dict[int, int] = {}
    rank = []
    for label in labels.tolist():
        seen[label] = seen.get(label, -1) + 1
        rank.append(seen[label])
    return torch.argsort(torch.tensor(rank), stable=True)


def time_orders(demo: Demo) -> dict[str, dict[str, float]]:
    """Seconds to generate one batch, the orders taking turns; medians without the first round."""
    pipeline = VideoPipeline.from_pretrained(demo.out / "generator")
    config, count = options(demo, "1x").config(), demo.preset.timed_clips
    orders = {shown: pipeline.find_order(name) for shown, name in ORDERS.items()}
    labels = torch.arange(count) % len(pipeline.class_names)
    taken: dict[str, list[tuple[float, float]]] = {shown: [] for shown in orders}
    for _ in range(1 + demo.preset.timed_rounds):
        for shown, order in orders.items():
            started = time.perf_counter()
            tokens = pipeline.generate_tokens(labels, demo.seed, config, count, order=order)
            made = time.perf_counter()
            pipeline.decode(tokens, count)
            taken[shown].append((made - started, time.perf_counter() - started))
    return {
        shown: {
            "steps": orders[shown].steps,
            "timed_clips": count,
            "transformer_seconds": float(np.median([tokens for tokens, _ in seconds[1:]])),
            "seconds": float(np.median([whole for _, whole in seconds[1:]])),
        }
        for shown, seconds in taken.items()
    }


def score(demo: Demo, shown: str) -> dict[str, Any]:
    """FVD of the clips generated in an order against real ones; the whole report lies in ``evaluation/``."""
    clips, _ = load_samples(demo.out / "samples" / shown)
    measure = MeasureOptions(
        i3d=demo.i3d,
        features=None if demo.i3d is not None else demo.out / "classifier",
        protocol_options=ProtocolOptions(
            split="train" if demo.held_out_time is None else "all",
            clip_policy="non-overlapping",
            frames=demo.form["frames"],
            fps=demo.form["fps"],
            size=demo.form["size"],
            real_count=0,
            fake_count=len(clips),
        ),
        split_index=demo.split_index,
        annotations=demo.annotations,
    )
    report = evaluate(
        EvaluateOptions(
            demo.root,
            demo.out / "evaluation" / f"{shown}.json",
            clips=demo.out / "samples" / shown,
            measure=measure,
            extraction=ExtractionOptions(workers=0),
        )
    )
    assert report is not None  # the demo is one process
    print(render(report))
    return report


def load_samples(folder: AnyPath) -> tuple[Tensor, Tensor]:
    """What `sample` wrote: uint8 ``[B, T, H, W, 3]`` and labels ``[B]``."""
    files = [np.load(path, allow_pickle=False) for path in sorted(Path(folder).glob("clips-*.npz"))]
    clips = np.concatenate([file["clips"] for file in files])
    return torch.from_numpy(clips), torch.from_numpy(np.concatenate([file["labels"] for file in files]))


def accuracy(network: SmallI3DExtractor, clips: Tensor, labels: Tensor) -> float:
    """The part of clips that the classifier gives their label."""
    said = torch.cat([network.classify(part).argmax(dim=1) for part in clips.split(32)])
    return (said == labels).double().mean().item()


def _held_out(demo: Demo) -> tuple[Tensor, Tensor]:
    clips = demo.clips("test", "center")
    items = [clips[index] for index in range(len(clips))]
    return torch.stack([item["clip"] for item in items]), torch.tensor([item["label"] for item in items])
