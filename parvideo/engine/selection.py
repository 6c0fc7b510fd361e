"""Which kernel computes what: found by timing, on the machine that will compute.

A processor with wide memory and slow small products wants other kernels than one with narrow memory and
matrix instructions, and nothing short of timing tells which it is. So everything that can be computed in
several ways is timed in all of them, PyTorch's own always among them, at the shapes that are about to be
computed; the times are kept (`parvideo.engine.kept_timings`), and the least counts.
"""

import copy
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from parvideo.engine.attention import KEYS_LEFT, QUERIES_LEFT, SDPA, Attention, Space
from parvideo.engine.attention import NATIVE as NATIVE_ATTENTION
from parvideo.engine.kept_timings import Times, keep, look_up
from parvideo.engine.machine import cache_bytes, processor_identity
from parvideo.engine.native import source_text
from parvideo.engine.products import (
    DOWN,
    FEWEST,
    GATE_UP,
    HEAD,
    KINDS,
    LARGE,
    NATIVE,
    OUT,
    PACKED,
    PLAIN,
    Kind,
    Padded,
    Product,
    Setting,
    TorchProduct,
    bucket,
    make_product,
    possible_storages,
)

Kernels = Literal["timed", "packed", "plain", "native"]
"""How an engine chooses: by timing, or the same for all products: oneDNN's packed ones, PyTorch's, our
own."""
SECONDS = 1.0
"""Time spent on timing when an engine meets new shapes."""
FEW_QUERIES = 8
"""Up to so many queries a key head, an engine of packed kernels has the keys on the left; in bfloat16
always."""
_VERSION = 1  # of what is timed and how; another needs another number
_ROUNDS = 12
_HOPELESS = 2.0
_LEAST_PREFIX = 256
BLOCKS, CUMULATIVE = "blocks", "cumulative sum"


@dataclass
class Item:
    """Something that can be computed in several ways.

    Attributes:
        label: for people, such as ``down, 2 rows``.
        shape: everything about it that times depend on.
        ways: their names.
        make: makes them, ready to be called.
    """

    label: str
    shape: dict[str, Any]
    ways: list[str]
    make: Callable[[], dict[str, Callable[[], Any]]]


@dataclass
class Shapes:
    """What a run computes: how often each number of rows occurs, by power of two.

    Attributes:
        layers: rows of a layer's products.
        head: rows of the head, which are also the tokens drawn.
        attention: (rows of the batch, slots, first slot of the step).
    """

    layers: Counter[int] = field(default_factory=Counter)
    head: Counter[int] = field(default_factory=Counter)
    attention: set[tuple[int, int, int]] = field(default_factory=set)

    def add(self, rows: int, clips: int, slots: range) -> None:
        """Count a step of ``slots`` for ``rows`` rows, of which ``clips`` are drawn for."""
        self.layers[bucket(rows * len(slots))] += 1
        self.head[bucket(clips * len(slots))] += 1
        self.attention.add((rows, len(slots), prefix_bucket(slots.stop)))


@dataclass
class Choice:
    """What computes a run.

    Attributes:
        storages: of each kind's weights.
        padded: how far few rows are filled up, see `parvideo.engine.products.Padded`.
        drawing: by tokens drawn, a power of two.
        padded: see `parvideo.engine.products.Padded`.
    """

    storages: dict[str, str]
    attention: dict[tuple[int, int, int], str] = field(default_factory=dict)
    drawing: dict[int, str] = field(default_factory=dict)
    padded: Padded = field(default_factory=dict)


class Selection:
    """An engine's choices.

    Args:
        setting: of its products.
        attention: its attention.
        kernels: how it chooses.
        compiled: how the native kernels were compiled, or why they were not.
        logits: of the head.
        weight_bytes: what a step reads; if the processor's cache holds it, it is timed in the cache.

    Attributes:
        padded: for the products of the run begun last.
        timings: of everything timed for this engine, by its label.
    """

    def __init__(
        self,
        setting: Setting,
        attention: Attention,
        kernels: Kernels,
        compiled: str,
        logits: int,
        weight_bytes: int,
    ) -> None:
        self.setting, self.attention, self.kernels, self.logits = setting, attention, kernels, logits
        self.storages = possible_storages(setting)
        self.padded: Padded = {}
        self.timings: dict[str, Times] = {}
        self._kernels = f"{compiled} {hashlib.sha256(source_text().encode()).hexdigest()}"
        self._cold = cache_bytes() if weight_bytes > cache_bytes() // 2 else 0
        self._chosen: dict[Any, Choice] = {}

    def choose(
        self,
        shapes: Shapes,
        products: dict[str, Product],
        cache: Tensor,
        space: Space,
        rotary: Tensor,
        draws: dict[str, Callable[[int], Any]],
    ) -> Choice:
        """Find out what is fastest for a run.

        Args:
            shapes: that the run will compute.
            products: of a layer, and the head, by the names of their kinds, as they are stored now.
            cache: of one of its layers; overwritten.
            space: its space for scores.
            rotary: its turns.
            draws: ways to draw a number of tokens.
        """
        if self.kernels != "timed":
            same = {"packed": LARGE, "plain": PLAIN, "native": NATIVE}[self.kernels]
            return Choice({kind.name: same for kind in KINDS})
        counted = frozenset(shapes.layers.items()), frozenset(shapes.head.items())
        met = (*counted, frozenset(shapes.attention), cache.shape[3], torch.get_num_threads())
        if met not in self._chosen:
            self._chosen[met] = self._choose(shapes, products, cache, space, rotary, draws)
        for key, rows in self._chosen[met].padded.items():
            self.padded.setdefault(key, {}).update(rows)
        return self._chosen[met]

    def _choose(
        self,
        shapes: Shapes,
        products: dict[str, Product],
        cache: Tensor,
        space: Space,
        rotary: Tensor,
        draws: dict[str, Callable[[int], Any]],
    ) -> Choice:
        multiplied = {
            (kind.name, rows): item
            for kind in KINDS
            for rows, item in self._products(
                kind, products[kind.name], shapes.head if kind is HEAD else shapes.layers
            )
        }
        attention = {at: self._attends(cache, space, rotary, *at) for at in sorted(shapes.attention)}
        drawing = {rows: self._draws(rows, draws) for rows in sorted(shapes.head)} if len(draws) > 1 else {}
        # Should time run out, the least is known of what matters least, and likes are taken to be alike.
        longest = sorted(attention.values(), key=lambda item: -item.shape["slots"] * item.shape["stop"])
        most = [item for (kind, _), item in multiplied.items() if kind in (GATE_UP.name, DOWN.name)]
        others = [item for item in multiplied.values() if item not in most]
        found = self._times([*most, *longest[:1], *others, *drawing.values(), *longest[1:]])
        choice = Choice(
            {}, drawing={rows: fastest(found[item.label]) or BLOCKS for rows, item in drawing.items()}
        )
        timed = {at: fastest(found[item.label]) for at, item in attention.items()}
        usual = most_common(timed.values())
        choice.attention = {at: way or usual or self._usual_attention(at[1]) for at, way in timed.items()}
        storages = {}
        for kind in KINDS:
            counts = shapes.head if kind is HEAD else shapes.layers
            times = {rows: found[multiplied[kind.name, rows].label] for rows in counts}
            storages[kind.name] = self._storage(kind, counts, times, choice.padded)
        common = most_common(storages.values()) or (LARGE if LARGE in self.storages else PLAIN)
        choice.storages = {kind: storage or common for kind, storage in storages.items()}
        return choice

    def attention_way(self, choice: Choice, rows: int, count: int, stop: int) -> str:
        """How a step of ``count`` slots up to slot ``stop`` attends."""
        if self.kernels == "plain":
            return SDPA
        if self.kernels == "native":
            return NATIVE_ATTENTION
        return choice.attention.get((rows, count, prefix_bucket(stop))) or self._usual_attention(count)

    def drawing_way(self, choice: Choice, rows: int) -> str:
        """How ``rows`` tokens are drawn."""
        return CUMULATIVE if self.kernels == "plain" else choice.drawing.get(bucket(rows), BLOCKS)

    def _usual_attention(self, count: int) -> str:
        few = self.attention.heads // self.attention.kv_heads * count <= FEW_QUERIES
        return KEYS_LEFT if few or self.setting.dtype != torch.float32 else QUERIES_LEFT

    def _storage(
        self, kind: Kind, counts: Counter[int], times: dict[int, Times], padded: Padded
    ) -> str | None:
        """The storage with the least time over all steps, each row count computed in its best way.

        None if nothing was timed.
        """
        totals = {}
        for storage in self.storages:
            total = 0.0
            for rows, count in counts.items():
                ways = {way: t for way, t in times[rows].items() if way in _ways_of(storage)}
                if ways:
                    total += count * min(ways.values())
                    pad = ways.get(_padded(storage), float("inf")) < ways[storage]
                    padded.setdefault((kind.name, storage), {})[rows] = FEWEST if pad else 0
            totals[storage] = total
        return min(totals, key=lambda storage: totals[storage]) if any(totals.values()) else None

    def _products(self, kind: Kind, product: Product, counts: Counter[int]) -> Iterable[tuple[int, Item]]:
        outputs, width = product.shape
        made: dict[str, Any] = {}  # shared by the row counts of this kind, and emptied after the last

        def make(rows: int) -> dict[str, Callable[[], Any]]:
            if not made:
                weights = product.weights()
                made.update({s: make_product(kind, weights, s, self.setting, {}) for s in self.storages})
            ways = dict(made)
            for storage in (PACKED, LARGE):
                if storage in made and rows < FEWEST:
                    padding: TorchProduct = copy.copy(made[storage])
                    padding.padded = {rows: FEWEST}
                    ways[_padded(storage)] = padding
            x = torch.randn(rows, width).to(self.setting.dtype)
            added = torch.zeros(rows, outputs, dtype=self.setting.dtype) if kind in (OUT, DOWN) else None
            if rows == max(counts):
                made.clear()
            return {name: partial(way, x, added) for name, way in ways.items()}

        for rows in sorted(counts):
            ways = [way for storage in self.storages for way in _ways_of(storage)]
            if rows >= FEWEST:
                ways = list(self.storages)
            else:
                ways = [way for way in ways if not (way.endswith("rows") and way.startswith((PLAIN, NATIVE)))]
            shape = {"outputs": outputs, "width": width, "rows": rows}
            yield rows, Item(f"{kind.name}, {rows} rows", shape, ways, partial(make, rows))

    def _attends(self, cache: Tensor, space: Space, rotary: Tensor, rows: int, count: int, stop: int) -> Item:
        attention = self.attention
        stop = min(stop, cache.shape[3])
        all_heads = attention.heads + 2 * attention.kv_heads
        ways = attention.ways()

        def make() -> dict[str, Callable[[], Any]]:
            cache.fill_(0.01)  # neither NaN nor denormal, which would take longer
            heads = torch.randn(rows, count, all_heads, attention.head_dim).to(self.setting.dtype)
            turns, part = rotary[stop - count : stop], cache[:, :rows]

            def call(way: str) -> Callable[[], Any]:
                return lambda: attention(way, heads.clone(), turns, part, stop - count, False, space)

            return {way: call(way) for way in ways}

        shape = {"heads": attention.heads, "kv_heads": attention.kv_heads, "width": attention.head_dim}
        shape |= {"rows": rows, "slots": count, "stop": stop}
        return Item(f"attention, {rows} x {count} of up to {stop} slots", shape, ways, make)

    def _draws(self, rows: int, draws: dict[str, Callable[[int], Any]]) -> Item:
        shape = {"rows": rows, "logits": self.logits}
        return Item(
            f"drawing, {rows} tokens", shape, list(draws),
            lambda: {name: partial(way, rows) for name, way in draws.items()},
        )  # fmt: skip

    def _times(self, items: list[Item]) -> dict[str, Times]:
        """The times of each item by its label: kept ones, and those found now."""
        keys = {item.label: self._key(item) for item in items}
        asked = {keys[item.label]: item.ways for item in items}
        known = look_up(asked)
        unknown = [item for item in items if keys[item.label] not in known]
        if unknown:
            end = _computed() + SECONDS
            cold = torch.ones(self._cold // 4) if self._cold else None
            found = {}
            for index, item in enumerate(unknown):
                share = (end - _computed()) / (len(unknown) - index)
                found[keys[item.label]] = time_ways(item.make(), cold, share) if share > 0 else {}
            known |= keep(found, asked)
        times = {item.label: known[keys[item.label]] for item in items}
        self.timings |= times
        return times

    def _key(self, item: Item) -> str:
        facts = {
            "version": _VERSION,
            "torch": torch.__version__,
            "processor": processor_identity(),
            "threads": torch.get_num_threads(),
            "native kernels": self._kernels,
            "dtype": str(self.setting.dtype),
            "cold": self._cold,
            "ways": item.ways,
            **item.shape,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        return f"{item.label}: {digest}"


def time_ways(ways: dict[str, Callable[[], Any]], cold: Tensor | None, seconds: float) -> Times:
    """Seconds a call of each, the best of interleaved rounds: two at least, and then until ``seconds`` are
    over.

    Args:
        ways: name -> what is called.
        cold: memory that is read before each call, so that what a call needs comes from memory, as it does
        in a step
            that reads more than the processor's cache holds.
        seconds: to spend.
    """
    end = _computed() + seconds
    # A thread's own time stands other users of the machine better; several threads have none in common.
    now = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(ways, float("inf"))
    for round_ in range(_ROUNDS):
        least = min(best.values())
        for name, way in ways.items():
            if round_ > 1 and best[name] > _HOPELESS * least:
                continue
            if cold is not None:
                cold.sum()
            start = now()
            way()
            best[name] = min(best[name], max(now() - start, 1e-9))
        if round_ > 0 and _computed() > end:
            break
    return best


def _computed() -> float:
    """Seconds that this process computed, with all of its threads."""
    return time.process_time() / torch.get_num_threads()


def fastest(times: Times) -> str | None:
    """The way of the least time; None if there was no time to find out."""
    return min(times, key=lambda way: times[way]) if times else None


def most_common(ways: Iterable[str | None]) -> str | None:
    """What was found most often, the best guess for what was not timed; None if nothing was found."""
    found = Counter(way for way in ways if way is not None)
    return found.most_common(1)[0][0] if found else None


def prefix_bucket(stop: int) -> int:
    """The power of two that stands for a prefix of ``stop`` slots, 256 at least."""
    return bucket(max(stop, _LEAST_PREFIX))


def _padded(storage: str) -> str:
    return f"{storage}, {FEWEST} rows"


def _ways_of(storage: str) -> tuple[str, str]:
    return storage, _padded(storage)
