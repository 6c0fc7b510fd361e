"""The report of `parvideo fit --print-costs`: what a config takes on machines of 24 and 80 GB."""

import math
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch.utils.flop_counter import FlopCounterMode

from parvideo.pixels import to_float
from parvideo.training.costs import (
    ADAM_BYTES,
    BFLOAT16,
    FLOAT32,
    MACHINES,
    RESERVED,
    Fit,
    TransformerCosts,
    fit_machine,
)
from parvideo.training.data import ClipDataModule, TokenDataModule
from parvideo.training.generator import GeneratorModule
from parvideo.training.private_apis import storage_key
from parvideo.training.tokenizer import TokenizerModule


@dataclass
class CostSettings:
    """What `--print-costs` cannot find in the config while the tokens are not made.

    Attributes:
        grid: latent grid (t, h, w).
        codebook_size: number of different tokens.
        class_count: number of classes.
        clips: clips of the training set, each once.
        codebook_factors: of a factorised head to compare with; their product must be the codebook's size.
        mfu: part of a device's peak that training reaches; stated, not known.
        devices: how many the config's batch is meant for, when it states no `global_batch`.
    """

    grid: tuple[int, int, int] = (5, 16, 16)
    codebook_size: int = 64000
    class_count: int = 101
    clips: int = 9537
    codebook_factors: tuple[int, ...] | None = (512, 125)
    mfu: float = 0.4
    devices: int = 8


def costs_report(
    module: lightning.LightningModule,
    data: lightning.LightningDataModule,
    settings: CostSettings,
    max_steps: int,
    global_batch: int | None,
    accumulation: int,
    average: bool,
) -> str:
    """The costs of a training run as text.

    Args:
        module: the config's model, not built for data yet.
        data: the config's data module.
        settings: what tokens to assume if the data's are not there.
        max_steps: optimizer steps of the run.
        global_batch: samples of an optimizer step, if the config states them.
        accumulation: micro-batches of an optimizer step, if it does not.
        average: whether an average of the weights is kept.

    Raises:
        ValueError: if the module is none of parvideo's.
    """
    if isinstance(module, GeneratorModule) and isinstance(data, TokenDataModule):
        batch = global_batch
        if batch is None:
            batch = data.batch_size * settings.devices * accumulation
        return _generator_report(module, data, settings, max_steps, batch, average)
    if isinstance(module, TokenizerModule) and isinstance(data, ClipDataModule):
        return _tokenizer_report(module, data, settings, max_steps, average)
    raise ValueError(f"no costs for a {type(module).__name__} on a {type(data).__name__}")


def _generator_report(
    module: GeneratorModule,
    data: TokenDataModule,
    settings: CostSettings,
    max_steps: int,
    batch: int,
    average: bool,
) -> str:
    grid, codes, classes, clips = (
        settings.grid,
        settings.codebook_size,
        settings.class_count,
        settings.clips,
    )
    found = "assumed (costs.*), for data.tokens is not there"
    if data.tokens.is_dir():
        data.setup("fit")
        grid, codes, classes = data.spec.grid, data.spec.codebook_size, len(data.spec.class_names)
        clips, found = len(data.train_tokens), f"found in {data.tokens}"

    def build(codebook_factors: Any) -> TransformerCosts:
        with torch.device("meta"):
            network = module.make_transformer(grid, codes, classes, codebook_factors=codebook_factors)
        return TransformerCosts.of(network.config, module.order_specs[0].build(grid))

    own = module.transformer_settings["codebook_factors"]
    costs = build(own)
    heads = {"whole" if own is None else _product(own): costs}
    if (
        own is None
        and settings.codebook_factors is not None
        and math.prod(settings.codebook_factors) == codes
    ):
        heads[_product(settings.codebook_factors)] = build(settings.codebook_factors)
    steps = len(module.order_specs[0].build(grid).step_slots)
    lines = [
        f"tokens          {_product(grid)} = {costs.tokens} a clip, {codes} codes, {classes} classes: "
        f"{found}",
        f"parameters      {costs.parameters:,}",
        f"steps a clip    {steps} of at most {costs.largest_group} tokens",
        f"training        {max_steps:,} steps of {batch} clips = {max_steps * batch / clips:,.0f} epochs of "
        f"{clips:,} clips",
        f"operations      {costs.training_flops / 1e12:.2f} TFLOP a clip, "
        f"{costs.training_flops * batch * max_steps / 1e15:,.0f} PFLOP in all",
        *_teacher_lines(costs, module.taught_share),
        f"tokens on disk  {costs.token_bytes(clips, codes) / 1e6:,.1f} MB a view of the training set",
        "",
        f"Memory of one device, bf16-mixed, DDP, {data.batch_size} clips at a time:",
        *_memory_table(heads, data.batch_size, average),
        "",
        f"Training in micro-batches that leave {RESERVED:.0%} of the memory free; time at an MFU of "
        f"{settings.mfu:g} of the devices' peak:",
        *_machine_table(heads, batch, max_steps, settings.mfu, average),
        "",
        "Sampling, bfloat16, guided (two rows a clip): weights and keys and values",
        *(
            f"  {count:>4} clips  {_gb(costs.parameters * BFLOAT16 + costs.cache_bytes(count, True))}"
            f" = {_gb(costs.parameters * BFLOAT16)} + {_gb(costs.cache_bytes(count, True))}"
            for count in (1, 16, 64)
        ),
        f"  one step's products, one clip: "
        f"{2 * costs.matrix_parameters * 2 * costs.largest_group / 1e9:.1f} GFLOP",
    ]
    return "\n".join(lines)


def _teacher_lines(costs: TransformerCosts, share: float) -> list[str]:
    if not share:
        return []
    return [
        f"distillation    {costs.forward_flops() * share / 1e12:.2f} TFLOP a clip more, in no other line: "
        f"a forward pass in 1x for {share:.0%} of the batches"
    ]


def _memory_table(heads: dict[str, TransformerCosts], batch: int, average: bool) -> list[str]:
    own = next(iter(heads.values()))
    shared = {
        "weights": own.parameters * FLOAT32,
        "gradients": own.parameters * FLOAT32,
        "DDP's buckets": own.parameters * FLOAT32,
        "AdamW's moments": own.parameters * ADAM_BYTES,
        "average (EMA)": own.parameters * FLOAT32 if average else 0,
        "bfloat16 copies": own.matrix_parameters * BFLOAT16,
        "activations": own.activation_bytes(batch, True, False),
        "activations, checkpointed": own.activation_bytes(batch, True, True),
        **{f"logits, {name} head": costs.logit_bytes(batch) for name, costs in heads.items()},
    }
    return [f"  {name:<26}{_gb(value):>10}" for name, value in shared.items()]


def _machine_table(
    heads: dict[str, TransformerCosts], batch: int, max_steps: int, mfu: float, average: bool
) -> list[str]:
    lines = [
        f"  {'machine':<22}{'head':<10}{'checkpointed':<14}{'clips x accumulation':<22}{'memory':>9}"
        f"{'s/step':>9}{'run':>11}"
    ]
    for machine in MACHINES:
        for name, costs in heads.items():
            for checkpointing in (False, True):
                fit = fit_machine(costs, machine, batch, checkpointing, mfu, average=average)
                lines.append(f"  {machine.name:<22}{name:<10}{_row(fit, max_steps)}")
    return lines


def _row(fit: Fit, max_steps: int) -> str:
    kept = "yes" if fit.checkpointing else "no"
    if not fit.micro_batch:
        return f"{kept:<14}{'does not fit':<22}{_gb(fit.memory):>9}"
    share = f"{fit.micro_batch} x {fit.accumulation}"
    days = fit.seconds * max_steps / 86400
    return f"{kept:<14}{share:<22}{_gb(fit.memory):>9}{fit.seconds:>9.2f}{days:>6.1f} days"


def _tokenizer_report(
    module: TokenizerModule,
    data: ClipDataModule,
    settings: CostSettings,
    max_steps: int,
    average: bool,
) -> str:
    """Counted by running it without numbers, on the meta device: convolutions have no short formula."""
    frames, height, width = data.clip_format.shape
    shape = (1, frames, height, width, 3)
    module = module.to("meta")
    generator_saved, generator_flops = _trace(module, shape, adversarial=False)
    total_saved, total_flops = _trace(module, shape, adversarial=True)
    tokenizer = sum(p.numel() for p in module.tokenizer.parameters())
    adversary = sum(p.numel() for p in module.adversary.parameters()) if module.adversary else 0
    state = (tokenizer + adversary) * (2 * FLOAT32 + ADAM_BYTES) + tokenizer * (FLOAT32 if average else 0)
    # Forward and backward of all, and the discriminator's own step on real and reconstructed clips.
    flops = 3 * total_flops + 2 * 3 * (total_flops - generator_flops)
    grid = module.tokenizer.latent_grid((frames, height, width))
    lines = [
        f"clips           {frames}x{height}x{width} pixels to {_product(grid)} tokens",
        f"parameters      tokenizer {tokenizer:,}, discriminator {adversary:,}",
        f"training        {max_steps:,} steps of {data.batch_size} clips a device",
        f"operations      {generator_flops / 2e12:.2f} TMAC a clip encoded and decoded; "
        f"{flops / 1e12:.2f} TFLOP a clip in training",
        f"state           {_gb(state)}: weights, gradients, AdamW's moments"
        + (", average" if average else ""),
        f"activations     {_gb(generator_saved)} a clip in float32, {_gb(total_saved)} with the adversary; "
        "half of that or a little more in bf16-mixed",
        "",
        f"Memory as in float32, an upper bound, with {RESERVED:.0%} left free; time in bfloat16 at an MFU of "
        f"{settings.mfu:g};",
        f"at most {data.batch_size} clips a device, for nothing is accumulated here:",
        f"  {'machine':<22}{'clips a device':<16}{'memory':>9}{'s/step':>9}{'run':>11}",
    ]
    for machine in MACHINES:
        room = machine.memory * (1 - RESERVED) - state
        clips = min(data.batch_size, int(room // total_saved))
        if clips < 1:
            lines.append(f"  {machine.name:<22}{'does not fit':<16}{_gb(state + total_saved):>9}")
            continue
        seconds = clips * flops / (machine.peak_flops * settings.mfu)
        lines.append(
            f"  {machine.name:<22}{clips:<16}{_gb(state + clips * total_saved):>9}"
            f"{seconds:>9.2f}{seconds * max_steps / 86400:>6.1f} days"
        )
    return "\n".join(lines)


def _trace(module: TokenizerModule, shape: tuple[int, ...], adversarial: bool) -> tuple[int, int]:
    """Bytes saved for the backward pass, and operations forward, of one clip ``[1, T, H, W, 3]``."""
    own = {storage_key(parameter) for parameter in module.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if storage_key(tensor) not in own:
            seen[storage_key(tensor)] = tensor.untyped_storage()
        return tensor

    clips = to_float(torch.zeros(shape, dtype=torch.uint8, device="meta"))
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        FlopCounterMode(display=False) as counter,
    ):
        made = module.tokenizer.decode_codes(module.tokenizer.encode_codes(clips))
        if adversarial and module.adversary is not None:
            frames = module.adversary.discriminator.choose_frames(clips, torch.Generator())
            module.adversary.generator_loss(made, frames)
    return sum(storage.nbytes() for storage in seen.values()), int(counter.get_total_flops())


def _product(numbers: Any) -> str:
    return "x".join(map(str, numbers))


def _gb(value: float) -> str:
    return f"{value / 1e9:.2f} GB" if value < 1e10 else f"{value / 1e9:.1f} GB"
