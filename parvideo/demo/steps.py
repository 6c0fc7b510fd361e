"""The demo's steps that make something: videos, trained networks, tokens. `parvideo.demo.scoring` measures.

`parvideo.jobs.stages` does each of them once.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parvideo.datasets import ClipDataset, VideoList, build_cache, load_videos
from parvideo.datasets.identity import identity
from parvideo.datasets.skipped import check_classes
from parvideo.files import config_folder, sha256_json
from parvideo.jobs.options import TokenizeOptions
from parvideo.jobs.tokenize import tokenize
from parvideo.progress import Progress
from parvideo.synthetic.objects import ObjectsSettings, write_objects_data
from parvideo.training.cli import fit
from parvideo.training.data import ClipsByEpoch, say_listing, split_videos
from parvideo.training.samplers import EndlessBatches

ORDERS = {"4x": "1x2x2", "1x": "1x1x1"}
"""The name shown -> the order, one of those of configs/demo/generator.yaml."""


@dataclass(frozen=True)
class DemoPreset:
    """How large the demo is; the trainings' own settings lie in configs/demo.

    Attributes:
        toy: settings of the objects set, which is drawn unless the user brings videos.
        fit: options on top of the configs, for every training.
        token_clips: clips tokenized to train on, at least; as many views of each video as that takes.
        classifier_steps: training steps of the feature network.
        classifier_clips: clips it is trained on.
        samples: clips generated in each order, over all classes.
        read_clips: of these, how many the exact reader reads (of the objects set; it knows no other).
        temperature: of the draws.
        guidance_scale: of the clips.
        top_p: tokens are drawn from the most likely that together reach this probability.
        timed_clips: clips of the batch that is timed.
        timed_rounds: times each order is timed, in turn.
    """

    toy: dict[str, Any]
    fit: list[str]
    token_clips: int
    classifier_steps: int
    classifier_clips: int
    samples: int
    read_clips: int
    temperature: float = 0.8
    guidance_scale: float = 3.0
    top_p: float = 0.9
    timed_clips: int = 8
    timed_rounds: int = 2


PLAIN_GROUND = {"num_classes": 8, "size": 32, "fps": 12.5, "contrast": 0.0}

PRESETS = {
    "small": DemoPreset(
        toy=PLAIN_GROUND | {"groups": 20, "clips_per_group": 3, "frames": 50},
        fit=[],
        token_clips=4000,
        classifier_steps=250,
        classifier_clips=640,
        samples=128,
        read_clips=64,
    ),
    "smoke": DemoPreset(
        toy=PLAIN_GROUND | {"groups": 3, "clips_per_group": 2, "frames": 20},
        fit=["--config", "smoke.yaml"],
        token_clips=64,
        classifier_steps=20,
        classifier_clips=64,
        samples=16,
        read_clips=8,
        timed_rounds=1,
    ),
}


@dataclass
class Demo:
    """One demo: its folder, its data and its size.

    Attributes:
        out: folder for everything.
        data: the user's videos, or None for the objects set.
        i3d: weights of the real I3D, or None for the demo's own feature network.
        preset: how large it is.
        seed: of data, training and sampling.
        split_index: which of UCF-101's splits of the user's videos.
        annotations: folder of UCF-101's lists, if it is neither in nor beside them.
    """

    out: Path
    data: Path | None
    i3d: Path | None
    preset: DemoPreset
    seed: int
    split_index: int = 1
    annotations: Path | None = None
    form: dict[str, Any] = field(default_factory=lambda: {"frames": 9, "size": 32, "fps": 12.5})

    @property
    def root(self) -> Path:
        """Folder of the videos."""
        return self.data if self.data is not None else self.out / "toy"

    @property
    def cache(self) -> Path:
        """Folder of decoded frames: each is read many times, and decoding costs as much as a step."""
        return self.out / "frames"

    @property
    def held_out_time(self) -> float | None:
        """Where each class has one scene only, the last quarter of each video's time is held out."""
        videos = self.videos()
        scenes = {(record.label, record.group) for record in videos.records}
        one_each = videos.layout == "class folders" and len(scenes) == len({label for label, _ in scenes})
        return 0.25 if one_each and not (self.root / "test").is_dir() else None

    def videos(self) -> VideoList:
        """All videos, of both splits."""
        return load_videos(self.root, "all", annotations=self.annotations)

    def split(self, split: str) -> tuple[VideoList, tuple[float, float]]:
        """The videos of "train" or "test", and the part of their time that belongs to it."""
        return split_videos(self.root, split, self.split_index, self.held_out_time, self.annotations)

    def check_videos(self) -> str:
        """Look into the user's videos before anything is begun, and say what is left out; their identity.

        Raises:
            ValueError: if there are none, or a class is left without a clip.
        """
        known = []
        for split in ("train", "test"):
            videos, span = self.split(split)
            form = self.form
            clips = ClipDataset(videos, form["frames"], form["size"], form["fps"], policy="center", span=span)
            check_classes(videos, clips)
            say_listing(self.root, videos, clips)
            known.append([identity(videos), *span])
        return sha256_json(known)

    def clips(self, split: str, policy: str) -> ClipDataset:
        """The clips of "train" or "test", at "random" places or from the "center"."""
        videos, span = self.split(split)
        form = self.form
        return ClipDataset(
            videos,
            form["frames"],
            form["size"],
            form["fps"],
            policy="random" if policy == "random" else "center",
            seed=self.seed,
            span=span,
            cache=self.cache,
        )


def make_toy_data(demo: Demo) -> None:
    """Write the objects set, unless the user brought videos, and decode all videos once."""
    if demo.data is None:
        write_objects_data(demo.root, ObjectsSettings(**demo.preset.toy, seed=demo.seed), show_progress=True)
    videos = demo.videos()
    unreadable = build_cache(demo.cache, videos, demo.form["size"], workers=2, show_progress=True)
    for name, reason in unreadable.items():
        print(f"left out {name}: {reason}")


def train(demo: Demo, config: str, data: dict[str, Any]) -> None:
    """Train what configs/demo/<config>.yaml describes, in the run folder of that name."""
    folder = config_folder() / "demo"
    options = [str(folder / part) if part.endswith(".yaml") else part for part in demo.preset.fit]
    given = [f"--data.{name}={value}" for name, value in data.items() if value is not None]
    run = demo.out / config
    fit(
        [
            "--config",
            str(folder / f"{config}.yaml"),
            *options,
            *given,
            "--out",
            str(run),
            f"--seed_everything={demo.seed}",
        ]
    )


def train_tokenizer(demo: Demo) -> None:
    """Train the tokenizer on the training clips."""
    data = {
        "root": demo.root,
        "split_index": demo.split_index,
        "annotations": demo.annotations,
        "held_out_time": demo.held_out_time,
        "cache": demo.cache,
        "seed": demo.seed,
    }
    train(demo, "tokenizer", data)


def train_generator(demo: Demo) -> None:
    """Train the transformer, in all its orders, on the tokens."""
    train(demo, "generator", {"tokens": demo.out / "tokens", "seed": demo.seed})


def make_tokens(demo: Demo) -> None:
    """Tokenize training views and held-out clips."""
    videos, _ = demo.split("train")
    tokenize(
        TokenizeOptions(
            demo.out / "tokenizer",
            demo.root,
            demo.out / "tokens",
            views=-(-demo.preset.token_clips // len(videos)),
            split_index=demo.split_index,
            annotations=demo.annotations,
            held_out_time=demo.held_out_time,
            batch_size=16,
            seed=demo.seed,
        )
    )


def draw_clips(clips: ClipDataset, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """``count`` clips in shuffled order: uint8 ``[count, T, H, W, 3]``, and their labels ``[count]``."""
    places = EndlessBatches(len(clips), count, seed).batch(0)
    by_epoch = ClipsByEpoch(clips)
    items = [by_epoch[place] for place in Progress(places, title="reading clips", unit="clip")]
    return torch.stack([item["clip"] for item in items]), torch.tensor([item["label"] for item in items])
