"""From a transformer to tokens: guidance, temperature, top-k and top-p, and the loop over an order's steps.

Every random number is drawn beforehand, one uniform a token, from a counter-based generator keyed by
(seed, sample index). A clip therefore depends on its own seed and index alone: not on the batch it was
made in, the order of requests or the number of devices (up to the rounding of differently shaped matrix
products, which moves a token only where its uniform falls within about 1e-6 of a boundary).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from parvideo.checks import check_seed
from parvideo.order import GenerationOrder
from parvideo.pixels import TensorLike, as_tensor
from parvideo.sampling.config import SamplingConfig
from parvideo.sampling.noise import draw_gumbels, draw_uniforms
from parvideo.transformer.attention import pinned_attention
from parvideo.transformer.factorization import join_tokens
from parvideo.transformer.model import VideoTransformer

StepCallback = Callable[[int, int], None]
"""Called after each step with the number of steps done and their total."""

TokenCallback = Callable[[Tensor, int], None]
"""Called after each call of the transformer with the ordered tokens so far, int64 ``[B, N]``, to be copied by
who keeps them, and with how many steps of the order are done: tokens of later steps mean nothing yet."""

BROKEN_LOGITS = (
    "the logits hold NaN or infinity: the weights or the activations (half precision?) are broken, or the "
    "guidance scale is too large"
)
NO_TOKEN = "every token is masked out (all logits are -inf): there is nothing to draw"
TEMPERATURES = (1e-30, 1e30)
"""Beyond these float32 has no room to divide. They draw as any lower or higher temperature would: what has a
logit less by 1e-28 is out of the question, and all that are not -inf are equally likely."""


Generate = Callable[[Tensor, SamplingConfig, Sequence[int], Tensor, int], Tensor]
"""Generates a window: (labels, config, indices, prefix, rng_stream) -> tokens ``[B, t, h, w]``."""


def filter_logits(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Set the logits of tokens that may not be drawn to -inf; ties at the boundary stay in.

    Args:
        logits: ``[..., V]``, already divided by the temperature, or less a number in each row.
        top_k: see `SamplingConfig`; k beyond V keeps all.
        top_p: see `SamplingConfig`; applied to what top-k leaves.

    >>> filter_logits(torch.tensor([3.0, 1.0, 2.0]), top_k=2).tolist()
    [3.0, -inf, 2.0]
    """
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    if top_p < 1:
        ranked = logits.sort(dim=-1, descending=True).values
        probabilities = ranked.softmax(dim=-1)
        mass_before = probabilities.cumsum(dim=-1) - probabilities
        # One always stays: to float32 the least top-p is zero.
        kept = (mass_before < top_p).sum(dim=-1, keepdim=True).clamp_(min=1)
        logits = logits.masked_fill(logits < ranked.gather(-1, kept - 1), -math.inf)
    return logits


def sample_tokens(
    logits: Tensor, noise: Tensor, config: SamplingConfig, codebook_factors: Sequence[int] | None = None
) -> Tensor:
    """Draw tokens by given random numbers.

    Args:
        logits: ``[..., V]``, or ``[..., sum(codebook_factors)]``.
        noise: uniforms ``[...]`` in [0, 1), at which the cumulative distribution is inverted; or, where the
            config says so, Gumbel numbers of the shape of the logits, by which the largest sum is found.
        config: temperature, top-k, top-p and noise; with factors they act on each digit.
        codebook_factors: of a model that predicts tokens as digits.

    Returns:
        int64 ``[...]``; never a token of probability zero.

    Raises:
        ValueError: if the logits hold NaN or infinity, or leave no token to draw.

    >>> logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(3, 3)
    >>> sample_tokens(logits, torch.tensor([0.05, 0.25, 0.35]), SamplingConfig()).tolist()
    [0, 1, 2]
    """
    for part in [logits] if codebook_factors is None else logits.split(list(codebook_factors), dim=-1):
        check_largest(part.amax(dim=-1))
    return draw_unchecked(logits, noise, config, codebook_factors)


def draw_unchecked(
    logits: Tensor, noise: Tensor, config: SamplingConfig, codebook_factors: Sequence[int] | None = None
) -> Tensor:
    """`sample_tokens` without its checks, for which the host would wait for the device."""
    if config.noise == "uniform":
        return invert_cumulative(logits, noise, config, codebook_factors)
    sizes = [logits.shape[-1]] if codebook_factors is None else list(codebook_factors)
    digits = []
    for part, numbers in zip(logits.split(sizes, dim=-1), noise.split(sizes, dim=-1), strict=True):
        kept = part if config.temperature == 0 else filtered(part, config) + numbers
        digits.append(kept.argmax(dim=-1))
    return digits[0] if codebook_factors is None else join_tokens(digits, codebook_factors)


def check_largest(largest: Tensor) -> None:
    """Raise ValueError if these, the largest logits of some rows, are not finite; NaN counts as largest."""
    if not bool(torch.isfinite(largest).all()):
        broken = largest.isnan() | (largest == math.inf)
        raise ValueError(BROKEN_LOGITS if bool(broken.any()) else NO_TOKEN)


def invert_cumulative(
    logits: Tensor, uniforms: Tensor, config: SamplingConfig, codebook_factors: Sequence[int] | None = None
) -> Tensor:
    """`draw_unchecked` by uniforms."""
    if codebook_factors is None:
        return _draw(logits, uniforms, config)[0]
    digits = []
    for part in logits.split(list(codebook_factors), dim=-1):
        digit, uniforms = _draw(part, uniforms, config)
        digits.append(digit)
    return join_tokens(digits, codebook_factors)


def cooled(logits: Tensor, largest: Tensor, temperature: float) -> Tensor:
    """Divide float32 logits, less the largest of each row, by the temperature, in place.

    The most likely token's logit is 0 then, and nothing overflows but to -inf.
    """
    coldest, hottest = TEMPERATURES
    return logits.sub_(largest).div_(min(max(temperature, coldest), hottest))


def filtered(logits: Tensor, config: SamplingConfig) -> Tensor:
    """Logits divided by the temperature, float32, -inf where top-k and top-p let nothing be drawn."""
    kept = logits.float()
    if config.temperature != 1:
        kept = cooled(kept.clone(), kept.amax(dim=-1, keepdim=True), config.temperature)
    return filter_logits(kept, config.top_k, config.top_p)


def _draw(logits: Tensor, uniforms: Tensor, config: SamplingConfig) -> tuple[Tensor, Tensor]:
    """A token for each uniform, and where in the token's share of [0, 1) the uniform fell, itself uniform."""
    if config.temperature == 0:
        return logits.argmax(dim=-1), uniforms
    probabilities = filtered(logits, config).softmax(dim=-1)
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[..., -1]
    # Strictly below the total, so that rounding cannot lead past the last token that may be drawn.
    threshold = torch.minimum(uniforms.to(total) * total, torch.nextafter(total, torch.zeros_like(total)))
    drawn = torch.searchsorted(cumulative, threshold[..., None], right=True)
    upper, share = (x.gather(-1, drawn).squeeze(-1).double() for x in (cumulative, probabilities))
    rest = ((uniforms.double() * total.double() - (upper - share)) / share).clamp(0, 1 - 2**-53)
    return drawn.squeeze(-1), rest


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
    on_tokens: TokenCallback | None = None,
) -> Tensor:
    """Generate the tokens of a batch of clips, one group of the order per forward call.

    Args:
        transformer: in eval mode.
        order: which tokens are generated at which step; one that the transformer was trained in.
        labels: class of each clip, int64 ``[B]``; classes may differ. The null class generates without one.
        config: how to draw; the defaults if not given.
        indices: index of each sample, which with the seed keys its random numbers; 0..B-1 if not given.
        prefix: the first k latent frames to go on from, int64 ``[B, k, h, w]`` with k < t
            (frame-conditional generation); they come back unchanged.
        rng_stream: which of a sample's independent streams of random numbers to draw from.
        on_step: called after each step with (steps done, steps in all).
        on_tokens: called after each step with the tokens so far.

    Returns:
        int64 ``[B, t, h, w]``.

    Raises:
        ValueError: if the model is training, a label or given token is out of range, shapes do not fit,
            or the logits are broken.
    """
    config = SamplingConfig() if config is None else config
    layout = transformer.layout(order)
    labels = as_tensor(labels, "labels")
    prefix = None if prefix is None else as_tensor(prefix, "prefix")
    indices = range(len(labels)) if indices is None else indices
    check_request(transformer, labels, indices)
    prefix_mask, tokens = prefix_tokens(transformer, order, prefix, len(labels))
    uniforms = draw_uniforms(config.seed, indices, order.num_tokens, rng_stream).to(labels.device)

    guided = config.guided(order.steps)
    rows = torch.cat([labels, torch.full_like(labels, transformer.num_classes)]) if guided else labels
    copies = 2 if guided else 1
    cache = transformer.make_cache(len(rows))
    first = int(order.group[~prefix_mask.cpu()].min())
    if first > 0:
        with pinned_attention(tokens.device):
            transformer.hidden(
                tokens.repeat(copies, 1), rows, layout, range(order.step_slots[first].start), cache
            )
    for step in range(first, order.steps):
        slots = order.step_slots[step]
        with pinned_attention(tokens.device):
            logits = transformer(tokens.repeat(copies, 1), rows, layout, slots, cache)
        if guided:
            conditional, unconditional = logits.chunk(2)
            scale = config.guidance_at(step, order.steps)
            logits = unconditional + (conditional - unconditional) * scale
        here = slice(slots.start, slots.stop)
        if config.noise == "uniform":
            noise = uniforms[:, here]
        else:
            places = [order.permutation[here].tolist()] * len(labels)
            noise = draw_gumbels(config.seed, indices, places, logits.shape[-1], rng_stream).to(labels.device)
        drawn = sample_tokens(logits, noise, config, transformer.codebook_factors)
        tokens[:, here] = torch.where(prefix_mask[here], tokens[:, here], drawn)
        if on_step is not None:
            on_step(step + 1, order.steps)
        if on_tokens is not None:
            on_tokens(tokens, step + 1)
    return order.unflatten(tokens)


def extend(
    transformer: VideoTransformer,
    order: GenerationOrder,
    tokens: TensorLike,
    labels: TensorLike,
    frames: int,
    overlap: int,
    config: SamplingConfig | None = None,
    indices: Sequence[int] | None = None,
    window: Generate | None = None,
) -> Tensor:
    """Continue clips beyond the trained length by sliding the model's window over latent frames.

    The last ``overlap`` latent frames become the first of the next window. The first latent frame of a
    causal tokenizer stands for one pixel frame and later ones for several, so a window that starts inside
    a clip differs from what training showed; a larger overlap softens this.

    Args:
        transformer: in eval mode, with a window of t latent frames.
        order: of the tokens in each window.
        tokens: clips so far, int64 ``[B, t', h, w]`` with t' >= overlap.
        labels: class of each clip, int64 ``[B]``.
        frames: latent frames to add.
        overlap: latent frames that each window takes over, 1..t-1.
        config: how to draw.
        indices: index of each sample; each window draws from a stream of its own.
        window: generates one window, such as a `CpuEngine`; the plain loop if not given.

    Returns:
        int64 ``[B, t' + frames, h, w]``, starting with ``tokens``.

    Raises:
        ValueError: if the overlap does not fit the window or the clips, or ``frames`` is not positive.
    """
    config = SamplingConfig() if config is None else config
    tokens, labels = as_tensor(tokens, "tokens"), as_tensor(labels, "labels")
    indices = range(len(labels)) if indices is None else indices
    length = transformer.grid[0]
    if not 1 <= overlap < length or overlap > tokens.shape[1]:
        raise ValueError(
            f"overlap must lie in 1..{min(length - 1, tokens.shape[1])} for a window of {length} and clips "
            f"of {tokens.shape[1]} latent frames, got {overlap}"
        )
    if frames < 1:
        raise ValueError(f"frames must be positive, got {frames}")
    goal = tokens.shape[1] + frames
    while tokens.shape[1] < goal:
        prefix, rng_stream = tokens[:, -overlap:], tokens.shape[1]
        if window is None:
            clip = generate(transformer, order, labels, config, indices, prefix, rng_stream)
        else:
            clip = window(labels, config, indices, prefix, rng_stream)
        tokens = torch.cat([tokens, clip[:, overlap:]], dim=1)
    return tokens[:, :goal]


def check_request(transformer: VideoTransformer, labels: Tensor, indices: Sequence[int]) -> None:
    """Raise ValueError unless the model is in eval mode, labels are in range and each has an index."""
    if transformer.training:
        raise ValueError(
            "the transformer is in training mode, where dropout spoils samples; call eval() first"
        )
    if labels.ndim != 1 or len(labels) == 0 or labels.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"labels must be a non-empty vector of int64, got {labels.dtype} of shape {list(labels.shape)}"
        )
    outside = labels[(labels < 0) | (labels > transformer.num_classes)]
    if len(outside):
        raise ValueError(
            f"labels must lie in 0..{transformer.num_classes - 1} (or be {transformer.num_classes}, the null "
            f"class), got {outside.tolist()}"
        )
    if len(indices) != len(labels):
        raise ValueError(f"got {len(indices)} sample indices for {len(labels)} labels")
    for index in indices:
        check_seed(index, "sample index")


def prefix_tokens(
    transformer: VideoTransformer, order: GenerationOrder, prefix: Tensor | None, batch: int
) -> tuple[Tensor, Tensor]:
    """Which ordered tokens are given, bool ``[N]``, and all tokens with those filled in, ``[B, N]``."""
    t, h, w = order.grid
    device = transformer.head.weight.device
    grid = torch.zeros(batch, t, h, w, dtype=torch.int64, device=device)
    frames = 0
    if prefix is not None:
        frames = prefix.shape[1] if prefix.ndim == 4 else 0
        if prefix.shape != (batch, frames, h, w) or not 1 <= frames < t:
            raise ValueError(
                f"prefix must be [{batch}, k, {h}, {w}] with 1 <= k < {t} latent frames, "
                f"got {list(prefix.shape)}"
            )
        if prefix.is_floating_point() or prefix.dtype == torch.bool:
            raise ValueError(f"prefix must be int64, got {prefix.dtype}")
        if prefix.min() < 0 or prefix.max() >= transformer.codebook_size:
            raise ValueError(
                f"prefix must lie in 0..{transformer.codebook_size - 1}, "
                f"got {int(prefix.min())}..{int(prefix.max())}"
            )
        grid[:, :frames] = prefix
    prefix_mask = (order.target_coords[:, 0] < frames).to(device)
    return prefix_mask, order.flatten(grid)
