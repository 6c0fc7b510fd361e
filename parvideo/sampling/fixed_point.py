"""Exact decoding by fixed points: the plain loop's tokens in fewer forward calls.

The random numbers of a token are fixed beforehand, so decoding is a deterministic map: each token follows
from the ones before it. Instead of computing one group of the order after the other, a call computes a
*window* of slots on guesses of their tokens, draws all of them anew, and takes what it drew as the next
guesses. The first group of the window depends on nothing guessed, so what was drawn for it is right; so is
the next group's if the guesses before it were what was drawn there, and so on (speculative Jacobi decoding;
arXiv 2410.01699, 2510.24211). Every call settles at least one group, often many. Each clip goes at its own
speed.

The tokens are those of `parvideo.sampling.generate` with the same settings, with one reservation, which holds
for any change of the batch, too: matrix products of other shapes round otherwise, so that a token may differ
where the plain loop's own draw was decided by less than that rounding, some 1e-6 in float32.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parvideo.order import GenerationOrder
from parvideo.pixels import TensorLike, as_tensor
from parvideo.sampling.config import SamplingConfig
from parvideo.sampling.loop import (
    StepCallback,
    TokenCallback,
    check_largest,
    check_request,
    draw_unchecked,
    prefix_tokens,
)
from parvideo.sampling.noise import draw_gumbels, draw_uniforms
from parvideo.transformer.attention import pinned_attention
from parvideo.transformer.model import VideoTransformer

LOGITS = 1 << 24
"""Logits held at a time, unless the slots of one clip have more."""


@dataclass
class CallCount:
    """What generating took.

    Attributes:
        calls: forward calls, not counting the one that reads given frames in.
        rows: slots computed in them, over all clips and, with guidance, their unguided copies.
    """

    calls: int = 0
    rows: int = 0


@torch.inference_mode()
def generate(
    transformer: VideoTransformer,
    order: GenerationOrder,
    labels: TensorLike,
    config: SamplingConfig | None = None,
    indices: Sequence[int] | None = None,
    prefix: TensorLike | None = None,
    rng_stream: int = 0,
    on_step: StepCallback | None = None,
    window: int = 32,
    count: CallCount | None = None,
    on_tokens: TokenCallback | None = None,
) -> Tensor:
    """Generate the tokens of a batch of clips; arguments, result and errors as of `sampling.generate`, and:

    Args:
        transformer: see there.
        order: see there.
        labels: see there.
        config: see there; with ``noise='gumbel'`` fewer calls are needed than with uniforms.
        indices: see there.
        prefix: see there.
        rng_stream: see there.
        on_step: called after each call with the steps that all clips have done and the steps in all.
        window: slots computed in a call for each clip, at most; whole groups, at least one.
        count: where to count calls and rows.
        on_tokens: called after each call with the tokens so far, and the steps that all clips have done.

    Raises:
        ValueError: if ``window`` is not positive.
    """
    if window < 1:
        raise ValueError(f"window must be 1 slot or more, got {window}")
    config = SamplingConfig() if config is None else config
    labels = as_tensor(labels, "labels")
    prefix = None if prefix is None else as_tensor(prefix, "prefix")
    indices = range(len(labels)) if indices is None else indices
    check_request(transformer, labels, indices)
    prefix_mask, tokens = prefix_tokens(transformer, order, prefix, len(labels))
    run = _Run(transformer, order, labels, config, list(indices), prefix_mask, tokens, rng_stream, window)
    while run.clips:
        run.call(count)
        if on_step is not None:
            on_step(min(run.steps, default=order.steps), order.steps)
        if on_tokens is not None:
            on_tokens(run.tokens_so_far(), min(run.steps, default=order.steps))
    return order.unflatten(run.finished)


class _Run:
    """Clips under way, as rows; those that are finished leave.

    Attributes:
        clips: number of the clip in each row.
        steps: the first step of each that is not settled.
        finished: int64 ``[B, N]``.
    """

    def __init__(
        self,
        transformer: VideoTransformer,
        order: GenerationOrder,
        labels: Tensor,
        config: SamplingConfig,
        indices: list[int],
        prefix_mask: Tensor,
        tokens: Tensor,
        rng_stream: int,
        window: int,
    ) -> None:
        self.layout = transformer.layout(order)
        device = tokens.device
        self.transformer, self.order, self.config, self.window = transformer, order, config, window
        self.bounds = [*(slots.start for slots in order.step_slots), order.num_tokens]
        self.codebook_factors = transformer.codebook_factors or (transformer.head.out_features,)
        self.copies = 2 if config.guided(order.steps) else 1
        scales = [config.guidance_at(step, order.steps) for step in range(order.steps)]
        self.scales = torch.tensor(scales, dtype=torch.float64)[order.group].to(device)
        self.seen, self.prefix_mask = order.mask.to(device), prefix_mask
        self.labels = labels
        if self.copies == 2:
            self.labels = torch.cat([labels, torch.full_like(labels, transformer.num_classes)])
        self.clips, self.finished = list(range(len(labels))), tokens.clone()
        self.noise = _Noise(config, indices, order, sum(self.codebook_factors), rng_stream)
        # The first guess of every token is 0. Its nearest neighbour's token saves no calls: whatever comes
        # into the window is drawn anew at once.
        # A row shorter than the others is filled up with slots that stand for nothing, behind the order's.
        self.spare = max(window, *map(len, order.step_slots))
        self.tokens = torch.cat([tokens, tokens.new_zeros(len(tokens), self.spare)], dim=1)
        self.cache = transformer.make_cache(len(self.labels), self.spare)
        first = int(order.group[~prefix_mask.cpu()].min())
        if first > 0:
            before = range(self.bounds[first])
            transformer.hidden(tokens.repeat(self.copies, 1), self.labels, self.layout, before, self.cache)
        self.steps = [first] * len(labels)

    def call(self, count: CallCount | None) -> None:
        """One forward call: every clip settles a step or more."""
        order, device = self.order, self.tokens.device
        starts = [self.bounds[step] for step in self.steps]
        ends = [
            max(step + 1, bisect_right(self.bounds, start + self.window) - 1)
            for step, start in zip(self.steps, starts, strict=True)
        ]
        stops = [self.bounds[end] for end in ends]
        width = max(stop - start for start, stop in zip(starts, stops, strict=True))
        if count is not None:
            count.calls += 1
            count.rows += width * len(self.labels)
        slots = torch.tensor(starts)[:, None] + torch.arange(width)
        beyond = slots >= torch.tensor(stops)[:, None]
        slots = torch.where(beyond, order.num_tokens + torch.arange(width), slots).to(device)
        beyond = beyond.to(device)
        real = torch.where(beyond, 0, slots)

        with pinned_attention(device):
            hidden = self._hidden(slots, self.seen[:, : max(stops)][real])
        most = max(1, LOGITS // (width * sum(self.codebook_factors)))  # clips
        parts = [
            self._draw(hidden[:, some], real[some], starts[some], stops[some], some)
            for some in (slice(first, first + most) for first in range(0, len(starts), most))
        ]
        drawn, largest = (torch.cat(part) for part in zip(*parts, strict=True))
        held = self.tokens.gather(1, slots)
        drawn = torch.where(self.prefix_mask[real], held, drawn)
        self.tokens.scatter_(1, slots, drawn)
        right = ((drawn == held) | beyond).long().cumprod(dim=1).sum(dim=1).tolist()
        for row, (start, stop, end, agreed) in enumerate(zip(starts, stops, ends, right, strict=True)):
            # What follows a token that was guessed wrong is right only up to the end of that token's group.
            wrong = start + agreed
            self.steps[row] = end if wrong >= stop else int(order.group[wrong]) + 1
            settled = self.bounds[self.steps[row]] - start
            check_largest(largest[row, :settled])
        self._leave()

    def tokens_so_far(self) -> Tensor:
        """Ordered tokens of all clips, int64 ``[B, N]``: finished ones, and settled or guessed ones."""
        tokens = self.finished.clone()
        tokens[self.clips] = self.tokens[:, : self.order.num_tokens]
        return tokens

    def _hidden(self, slots: Tensor, seen: Tensor) -> Tensor:
        """Last hidden states, of the clips and then of their unguided copies: ``[copies, B, S, dim]``."""
        copies = self.copies
        hidden = self.transformer.hidden_of_rows(
            self.tokens.repeat(copies, 1),
            self.labels,
            self.layout,
            slots.repeat(copies, 1),
            seen.repeat(copies, 1, 1),
            self.cache,
        )
        return hidden.unflatten(0, (copies, -1))

    def _draw(
        self, hidden: Tensor, slots: Tensor, starts: list[int], stops: list[int], rows: slice
    ) -> tuple[Tensor, Tensor]:
        """Tokens drawn for some rows ``[B, S]``, and the largest of their logits ``[B, S, F]``, F factors."""
        logits: Tensor = self.transformer.head(hidden)
        if self.copies == 2:
            scale = self.scales[slots, None].to(logits.dtype)
            conditional, unconditional = logits
            logits = unconditional + (conditional - unconditional) * scale
        else:
            logits = logits[0]
        parts = logits.split(list(self.codebook_factors), dim=-1)
        largest = torch.stack([part.amax(dim=-1) for part in parts], dim=-1)
        sound = torch.isfinite(largest).all(dim=-1, keepdim=True)
        if not bool(sound.all()):  # on tokens guessed wrong, perhaps: that shows when they are settled
            logits = torch.where(sound, logits, 0.0)
        noise = self.noise.at(self.clips[rows], starts, stops, slots.shape[1]).to(logits.device)
        return draw_unchecked(logits, noise, self.config, self.transformer.codebook_factors), largest

    def _leave(self) -> None:
        """Put clips away that are finished."""
        count, steps = len(self.clips), self.order.steps
        staying = [row for row in range(count) if self.steps[row] < steps]
        if len(staying) == count:
            return
        for row in range(count):
            if self.steps[row] == steps:
                self.finished[self.clips[row]] = self.tokens[row, : self.order.num_tokens]
        rows = torch.tensor(staying, dtype=torch.int64, device=self.tokens.device)
        self.tokens = self.tokens[rows]
        copies = torch.cat([rows + count * copy for copy in range(self.copies)])
        self.labels = self.labels[copies]
        self.cache.keep(copies)
        self.clips, self.steps = ([values[row] for row in staying] for values in (self.clips, self.steps))


class _Noise:
    """The random numbers of all clips; Gumbel numbers are drawn when needed, and kept for the window."""

    def __init__(
        self, config: SamplingConfig, indices: list[int], order: GenerationOrder, codes: int, rng_stream: int
    ) -> None:
        self.seed, self.indices, self.codes, self.rng_stream = config.seed, indices, codes, rng_stream
        self.places: list[int] = order.permutation.tolist()
        self.uniforms = None
        if config.noise == "uniform":
            self.uniforms = draw_uniforms(config.seed, indices, order.num_tokens, rng_stream)
        self.held = {clip: (0, torch.empty(0, codes)) for clip in range(len(indices))}

    def at(self, clips: list[int], starts: list[int], stops: list[int], width: int) -> Tensor:
        """Numbers of the slots [start, stop) of each clip, filled up to ``width``: ``[B, S]``, and for Gumbel
        noise ``[B, S, V]``."""
        numbers = []
        for clip, start, stop in zip(clips, starts, stops, strict=True):
            if self.uniforms is not None:
                own = self.uniforms[clip, start:stop]
            else:
                own = self._gumbels(clip, start, stop)
            numbers.append(torch.cat([own, own.new_zeros(width - len(own), *own.shape[1:])]))
        return torch.stack(numbers)

    def _gumbels(self, clip: int, start: int, stop: int) -> Tensor:
        first, held = self.held[clip]
        held = held[max(0, start - first) :]
        missing = self.places[start + len(held) : stop]
        new = draw_gumbels(self.seed, [self.indices[clip]], [missing], self.codes, self.rng_stream)[0]
        held = torch.cat([held, new])
        self.held[clip] = (start, held)
        return held
