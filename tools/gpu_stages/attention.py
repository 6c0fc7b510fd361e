"""The stage about attention in training: every kernel, forward and backward, at the shape of the 792M run."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from parvideo.benchmark.cuda import check_device, peak_bytes, seconds
from parvideo.order import regions
from parvideo.transformer.attention import AttentionMask, attend, attend_blocks
from tools.gpu_stages.record import Record

CLIPS, HEADS, WIDTH = 8, 20, 64
Way = Callable[..., Tensor]
TRAINING = "4x, as training does"
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


def attention(record: Record) -> str:
    """Time forward and backward under 4x's mask, and a causal one; compare with softmax in float32."""
    device, tiny = check_device(record.device), record.tiny
    order = regions((2, 4, 4) if tiny else (5, 16, 16), (1, 2, 2))
    clips, heads = (1, 2) if tiny else (CLIPS, HEADS)
    torch.manual_seed(0)
    shape = (clips, heads, order.num_tokens, WIDTH)
    inputs = [torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    mask = AttentionMask(order.mask, device)
    with torch.no_grad():  # clip by clip: scores are large
        queries, keys, values = (x.float() for x in inputs)
        exact = torch.cat([_by_hand(queries[i], keys[i], values[i], mask.dense)[None] for i in range(clips)])

    def masked(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask.dense)

    def causal(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)

    def flex(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend_blocks(queries, keys, values, mask, compiled=True)

    def training(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, mask)

    ways: dict[str, tuple[Way, AbstractContextManager[Any]]] = {}
    for name, kernel in KERNELS.items():
        if name != "flash":  # which takes no mask
            ways[f"4x, {name}"] = (masked, sdpa_kernel(kernel))
        ways[f"causal, {name}"] = (causal, sdpa_kernel(kernel))
    if device.type == "cuda":  # FlexAttention has no backward pass on a CPU
        ways["4x, flex"] = (flex, nullcontext())
    ways[TRAINING] = (training, nullcontext())
    record.show(f"{'mask, kernel':<24}{'forward ms':>11}{'both ms':>9}{'peak MiB':>10}{'error':>10}")
    found: dict[str, dict[str, Any]] = {}
    for name, (way, context) in ways.items():
        try:
            with context:
                found[name] = _measure(way, inputs, device, exact if name.startswith("4x") else None)
        except RuntimeError as error:  # a kernel that is not for this shape, mask or device
            found[name] = {"refused": str(error).strip().splitlines()[0][:150]}
        record.note(ways=found)
        entry = found[name]
        if "refused" in entry:
            record.show(f"{name:<24}refused: {entry['refused'][:80]}")
            continue
        peak = "-" if entry["peak"] is None else f"{entry['peak'] / 2**20:.0f}"
        record.show(
            f"{name:<24}{entry['forward']:>11.2f}{entry['both']:>9.2f}{peak:>10}{entry['error']:>10.4f}"
        )
        if name.startswith("4x"):
            record.check(f"{name}: error", entry["error"], most=0.03)
    own = found[TRAINING]
    record.check("attention as training does it runs", "refused" not in own)
    times = {
        name: entry["both"] for name, entry in found.items() if "both" in entry and name.startswith("4x")
    }
    fastest = min(times, key=lambda name: times[name])
    if "both" in own:
        record.floor("training's way over the fastest", own["both"] / times[fastest], most=1.2)
    return f"fastest forward and backward: {fastest}, {times[fastest]:.2f} ms"


def _by_hand(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(-1) @ values


def _measure(way: Way, inputs: list[Tensor], device: torch.device, exact: Tensor | None) -> dict[str, Any]:
    def forward() -> Tensor:
        return way(*inputs)

    def both() -> None:
        forward().float().square().sum().backward()

    with torch.no_grad():
        error = math.nan if exact is None else (forward().float() - exact).abs().max().item()
    forward()
    both()  # compiled, chosen
    peak = peak_bytes(device, both)
    return {
        "error": error,
        "forward": 1e3 * min(seconds(device, forward) for _ in range(5)),
        "both": 1e3 * min(seconds(device, both) for _ in range(5)),
        "peak": peak,
    }
