"""A study: which transformers are trained, on what, and how what they generate is measured."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from parvideo.benchmark.timing import Clock
from parvideo.order import OrderSpec
from parvideo.synthetic.objects import ObjectsSettings
from parvideo.transformer.rotary import QueryPositions


@dataclass(frozen=True)
class Arm:
    """One way to train a transformer.

    Attributes:
        name: shown in the tables, and the name of its run folders: letters, digits, ``-`` and ``_``.
        order: the order it is trained in.
        more_orders: further orders for the same weights; it is then measured in each.
        target_positions: whether the transformer is told which token each slot predicts.
        query_positions: what turns a slot's query, see `VideoTransformer`.
        order_weights: how often a batch is in each order, see `GeneratorModule`.
        order_embedding: whether the transformer is told which order it is in.
        distillation: weight of what the faster orders learn from 1x.
        budgets: training steps; it is trained anew for each of them. As the generator's config says if none
            is given.
        family: arms of one family are joined by a line in the picture.
    """

    name: str
    order: OrderSpec = field(default_factory=OrderSpec)
    more_orders: list[OrderSpec] = field(default_factory=list)
    target_positions: bool = False
    query_positions: QueryPositions = "source"
    order_weights: dict[str, float] | None = None
    order_embedding: bool = False
    distillation: float = 0.0
    budgets: list[int] = field(default_factory=list)
    family: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise ValueError(f"an arm's name is {self.name!r}; it may have letters, digits, - and _")
        if min(self.budgets, default=1) < 1 or len(set(self.budgets)) < len(self.budgets):
            raise ValueError(f"budgets of arm {self.name!r} are {self.budgets}; give steps, none twice")
        names = [spec.name for spec in (self.order, *self.more_orders)]
        if len(set(names)) < len(names):
            raise ValueError(f"the orders of arm {self.name!r} are {', '.join(names)}; give none twice")

    @property
    def trainings(self) -> list[int | None]:
        """Its budgets; None for the generator config's own."""
        return [*self.budgets] or [None]

    @property
    def rows(self) -> dict[str, OrderSpec]:
        """The orders it generates in, by the name that tables give them: ``any at 1x4x4``."""
        if not self.more_orders:
            return {self.name: self.order}
        return {f"{self.name} at {spec.name}": spec for spec in (self.order, *self.more_orders)}


@dataclass(frozen=True)
class Job:
    """One training, and what is measured of it.

    Attributes:
        arm: what is trained.
        budget: training steps; as the generator's config says if None.
        seed: of training and sampling.
    """

    arm: Arm
    budget: int | None
    seed: int

    @property
    def name(self) -> str:
        """Of its files: ``16x-3000steps-seed1``."""
        steps = "" if self.budget is None else f"-{self.budget}steps"
        return f"{self.arm.name}{steps}-seed{self.seed}"


@dataclass(frozen=True)
class Goal:
    """A limit that was set before anything was trained.

    Attributes:
        a: a row.
        b: the row that is subtracted.
        figure: ``loss``, in nats a token, or ``fvd``, in percent of b.
        at_most: what a - b may be at the longest budget that both have.
    """

    a: str
    b: str
    figure: Literal["loss", "fvd"]
    at_most: float


@dataclass(frozen=True)
class StudyConfig:
    """Everything that fixes a study; a folder is begun with one, and takes another with more arms or seeds.

    Attributes:
        data: the objects set.
        frames: frames of a clip.
        size: pixels, the side of a clip's frames.
        tokenizer: config of `parvideo fit`, beside the study's own file.
        generator: the same, for every arm; orders are added to it.
        views: clips tokenized of each training video.
        classifier_steps: training steps of the feature network that FVD and nothing else uses.
        classifier_clips: clips it is trained on.
        reference_clips: held-out clips that FVD compares with.
        clips: generated clips of each row, over all classes.
        read_clips: how many of them the exact reader reads.
        batch_size: clips generated together.
        guidance: guidance scales to generate with.
        top_k: tokens are drawn from so many; 0 for all.
        seeds: each arm is trained once with each.
        arms: what is trained.
        compare: pairs of rows (a, b); the report states a - b with its error.
        goals: what the report says is met or missed.
        workers: jobs at a time.
        threads: threads of each.
        timed_clips: clips of the batch that is timed.
        timed_rounds: times each row is timed, in turn.
        clock: seconds that passed, or that the one thread computed (for shared machines).
    """

    data: ObjectsSettings
    frames: int
    size: int
    tokenizer: Path
    generator: Path
    arms: list[Arm]
    views: int = 4
    classifier_steps: int = 300
    classifier_clips: int = 1024
    reference_clips: int = 512
    clips: int = 256
    read_clips: int = 128
    batch_size: int = 64
    guidance: list[float] = field(default_factory=lambda: [1.0, 2.0])
    top_k: int = 0
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    compare: list[tuple[str, str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    workers: int = 1
    threads: int = 1
    timed_clips: int = 8
    timed_rounds: int = 3
    clock: Clock = "wall"

    def __post_init__(self) -> None:
        for name in ("views", "classifier_steps", "clips", "read_clips", "batch_size", "workers", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.read_clips > self.clips:
            raise ValueError(f"read_clips is {self.read_clips}, of {self.clips} generated clips")
        for name, values in (
            ("seeds", self.seeds),
            ("arms", [arm.name for arm in self.arms]),
            ("guidance", self.guidance),
        ):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} is {values}; give at least one, and none twice")
        if self.clock == "cpu" and self.threads != 1:
            raise ValueError(f"clock cpu counts one thread's time; threads is {self.threads}")
        rows = self.rows
        if len(rows) < sum(len(arm.rows) for arm in self.arms):
            raise ValueError(f"two of the arms' rows have one name; the rows are {', '.join(rows)}")
        budgets = {name: set(arm.trainings) for arm in self.arms for name in arm.rows}
        pairs = [("compare", a, b) for a, b in self.compare] + [("goals", one.a, one.b) for one in self.goals]
        for where, *pair in pairs:
            for name in pair:
                if name not in rows:
                    raise ValueError(f"{where} names {name!r}; the rows are {', '.join(rows)}")
            if not budgets[pair[0]] & budgets[pair[1]]:
                raise ValueError(f"{where} pairs {' and '.join(pair)}, which have no budget in common")

    @property
    def rows(self) -> dict[str, OrderSpec]:
        """All rows' orders by their names."""
        return {name: spec for arm in self.arms for name, spec in arm.rows.items()}

    @property
    def families(self) -> dict[str, str]:
        """All rows' families by their names."""
        return {name: arm.family for arm in self.arms for name in arm.rows}

    @property
    def jobs(self) -> list[Job]:
        """All jobs in the sequence in which they are begun: short budgets first, then seed after seed."""
        jobs = [
            Job(arm, budget, seed) for seed in self.seeds for arm in self.arms for budget in arm.trainings
        ]
        return sorted(jobs, key=lambda job: job.budget or 0)

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises:
            ValueError: if there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise ValueError(f"there is no arm {name!r}; there are {', '.join(arm.name for arm in self.arms)}")


def parse_study(settings: Mapping[str, Any]) -> StudyConfig:
    """A study from its settings as JSON-able data.

    Raises:
        jsonargparse.ArgumentError: if they are of another version of this tool.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(StudyConfig, "study")
    study: StudyConfig = parser.instantiate(parser.parse_object({"study": settings}))["study"]
    return study


@dataclass(frozen=True)
class Measured:
    """What was measured on the clips of one row, one seed and one guidance scale.

    Attributes:
        row: name of the row, or "real clips" and "reconstructions".
        seed: of training and sampling.
        guidance: guidance scale.
        steps: of the order.
        val_loss: held-out cross entropy, nats a token. Times the number of tokens it is the negative log
            likelihood of a clip's tokens under the model as it generates, so orders may be compared by it.
        fvd: to the held-out reference clips, by the study's own feature network.
        class_accuracy: share of clips that the exact reader reads as the class asked for.
        violations: share of clips with a violation of any kind.
        broken: share of clips in which an object splits, vanishes or changes colour, or one appears that the
            class does not have. Unlike an outline or a place that is slightly off, the tokenizer does not
            cause these.
        violations_per_clip: mean number of violations.
        motion_error: median distance of the objects from their law of motion, in 1/64 of the frame's side;
            64 where there is none.
        kinds: clips by the kinds of violation they show.
        budget: training steps; None where the generator's config says them.
    """

    row: str
    seed: int
    guidance: float
    steps: int
    val_loss: float
    fvd: float
    class_accuracy: float
    violations: float
    broken: float
    violations_per_clip: float
    motion_error: float
    kinds: dict[str, int]
    budget: int | None = None


@dataclass(frozen=True)
class Timed:
    """Seconds a clip of one row.

    Attributes:
        row: name of the row.
        transformer: seconds that generating a clip's tokens takes.
        decoder: seconds that decoding them takes.
    """

    row: str
    transformer: float
    decoder: float


def order_arguments(arm: Arm) -> dict[str, Any]:
    """An arm's orders, and what else it sets, as settings of `GeneratorModule`.

    What was added after the first studies stands here only where it is set: folders of before go on.
    """
    added = {
        "query_positions": arm.query_positions,
        "order_weights": arm.order_weights,
        "order_embedding": arm.order_embedding,
        "distillation": arm.distillation,
    }
    unset = Arm(arm.name)
    return {
        "order": asdict(arm.order),
        "more_orders": [asdict(spec) for spec in arm.more_orders],
        "target_positions": arm.target_positions,
        **{name: value for name, value in added.items() if value != getattr(unset, name)},
    }
