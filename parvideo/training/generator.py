"""The Lightning module that trains a generator: a transformer on the tokens of labelled clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from parvideo.checks import whole_number
from parvideo.order import GenerationOrder, Grid, OrderSpec
from parvideo.training.data import TokenDataModule, TokenSpec
from parvideo.training.initial_weights import start_from
from parvideo.training.private_apis import batches_begun
from parvideo.training.schedules import warmup_cosine
from parvideo.training.several_orders import as_teacher, check_teacher, check_weights, draw_order
from parvideo.transformer import VideoTransformer, next_token_loss
from parvideo.transformer.factorization import token_divergence
from parvideo.transformer.rotary import QueryPositions


class TokenBatch(TypedDict):
    """What a token data module yields: ``tokens`` int64 ``[B, t, h, w]``, ``label`` int64 ``[B]``, ``id``."""

    tokens: Tensor
    label: Tensor
    id: list[str]


class GeneratorModule(lightning.LightningModule):
    """Trains a transformer by cross entropy with AdamW and a warm-up + cosine schedule (PAR's recipe).

    Grid, codebook and classes come from the token data, so they are stated nowhere else.

    Args:
        order: which tokens are generated together; ``regions: [1, 2, 2]`` is PAR-4x.
        dim: width of the transformer.
        num_layers: number of its blocks.
        num_heads: attention heads; must divide ``dim``.
        num_kv_heads: key and value heads; as many as ``num_heads`` if null.
        ffn_hidden: width of the feed-forward layers; LLaMA's 8/3 · dim if null.
        qk_norm: normalise queries and keys.
        codebook_factors: predict each token as digits below these factors (large codebooks); whole if null.
        dropout: on embeddings and residuals.
        attention_dropout: on attention weights. Anything but 0 rules out the kernels that are quick on a GPU
            (FlexAttention, flash, cuDNN).
        label_dropout: part of the samples whose class is hidden, which makes guidance possible.
        gradient_checkpointing: recompute activations in the backward pass.
        lr: learning rate at the end of the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's, on matrices alone (not on norms).
        warmup_steps: steps over which the learning rate rises from 0.
        final_lr: the learning rate at the end, as a part of ``lr``.
        max_steps: length of the schedule; the trainer's own if null.
        more_orders: further orders to train the same weights on; each batch is trained in one order of them
            all, drawn from the batch's number. The model then generates in any of them
            (`VideoPipeline.generate`, ``order``).
        target_position_embedding: tell the transformer which token each slot predicts (see
            `VideoTransformer`); with ``more_orders`` it is told in any case. The paper does not.
        query_positions: ``target`` turns a slot's query by the place of the token it predicts, ``source`` by
            that of the token it is fed, as the paper does (see `VideoTransformer`).
        order_weights: how often each order is drawn, in proportion, by the orders' names: ``{1x1x1: 3, 1x4x4:
            1}`` trains three batches of four in 1x. All as often if null.
        order_embedding: tell the transformer which order it is in (``order_names`` of `VideoTransformer`).
        distillation: weight of what a faster order learns from 1x: to its loss is added so many times the
            divergence of its distribution at each place from that of the same transformer in 1x, without
            dropout and gradients. 1x must be among the orders. It costs a forward pass in 1x for every batch
            in another order, a third more of its computing. 1x sees other tokens than the faster order does
            (those before in raster order), so a large weight draws it away from what it sees.
        init_from: a model folder whose weights training starts from; random ones without.
        fused: update weights in one kernel (not with `16-mixed` precision); on CUDA if null.

    Raises:
        ValueError: if a setting lies outside its range.
    """

    transformer: VideoTransformer
    spec: TokenSpec
    step_losses: Tensor
    further_losses: Tensor
    validated: Tensor

    def __init__(
        self,
        order: OrderSpec,
        dim: int,
        num_layers: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        ffn_hidden: int | None = None,
        qk_norm: bool = False,
        codebook_factors: list[int] | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        label_dropout: float = 0.1,
        gradient_checkpointing: bool = False,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.05,
        warmup_steps: int = 100,
        final_lr: float = 0.0,
        max_steps: int | None = None,
        more_orders: Sequence[OrderSpec] = (),
        target_position_embedding: bool = False,
        query_positions: QueryPositions = "source",
        order_weights: dict[str, float] | None = None,
        order_embedding: bool = False,
        distillation: float = 0.0,
        init_from: Path | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if max_steps is not None:
            whole_number(max_steps, "max_steps", least=1)
        if not 0 <= label_dropout <= 1:
            raise ValueError(f"label_dropout must be a part from 0 to 1, got {label_dropout}")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, got {warmup_steps}")
        self.order_specs = (order, *more_orders)
        regions = [tuple(spec.regions) for spec in self.order_specs if spec.by_regions]
        if len(set(regions)) < len(regions):
            raise ValueError(f"more_orders repeats regions, by which orders are chosen: {regions}")
        names = [spec.name for spec in self.order_specs]
        if len(set(names)) < len(names):
            raise ValueError(f"more_orders repeats an order, by whose names losses are logged: {names}")
        self.order_weights = check_weights(self.order_specs, order_weights)
        self.teacher, self.distillation = check_teacher(self.order_specs, distillation), distillation
        self.transformer_settings: dict[str, Any] = {
            "dim": dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "num_kv_heads": num_kv_heads,
            "ffn_hidden": ffn_hidden,
            "qk_norm": qk_norm,
            "codebook_factors": codebook_factors,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "gradient_checkpointing": gradient_checkpointing,
            "target_position_embedding": target_position_embedding or bool(more_orders),
            "query_positions": query_positions,
            "order_names": names if order_embedding else [],
        }
        self.label_dropout = label_dropout
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.warmup_steps, self.final_lr, self.max_steps = warmup_steps, final_lr, max_steps
        self.fused, self.init_from = fused, init_from

    def configure_model(self) -> None:
        """Build the transformer for the data at hand."""
        if hasattr(self, "transformer"):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, TokenDataModule):
            raise ValueError(f"a generator trains on a TokenDataModule, not on {type(data).__name__}")
        self.build(data.spec)
        if self.init_from is not None:
            start_from(self.transformer, self.init_from)

    def build(self, spec: TokenSpec) -> None:
        """Build the transformer for tokens of this form."""
        self.spec = spec
        self.orders = [order.build(spec.grid) for order in self.order_specs]
        self.transformer = self.make_transformer(spec.grid, spec.codebook_size, len(spec.class_names))
        self._begin_to_count()

    def make_transformer(
        self, grid: Grid, codebook_size: int, num_classes: int, **changes: Any
    ) -> VideoTransformer:
        """A new transformer by this module's settings and ``changes`` to them."""
        orders = [spec.build(grid) for spec in self.order_specs]
        transitions = max(order.num_transitions for order in orders)
        settings = {**self.transformer_settings, "num_transitions": transitions, **changes}
        return VideoTransformer(grid, codebook_size, num_classes, **settings)

    def training_step(self, batch: TokenBatch, batch_index: int) -> Tensor:
        """Cross entropy of all slots, with some labels hidden, and what distillation adds."""
        labels = batch["label"]
        hidden = torch.rand(labels.shape, device=labels.device) < self.label_dropout
        labels = torch.where(hidden, self.transformer.num_classes, labels)
        order = self._drawn_order()
        taught = self.teacher is not None and order is not self.orders[self.teacher]
        if taught:
            losses, divergences = self.distilled_losses(batch["tokens"], labels, order)
        else:
            losses, divergences = self.losses(batch["tokens"], labels, order), None
        loss = losses.mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(labels), sync_dist=True)
        if divergences is None:
            return loss
        divergence = divergences.mean()
        self.log("train/divergence", divergence, batch_size=len(labels), sync_dist=True)
        return loss + self.distillation * divergence

    def validation_step(self, batch: TokenBatch, batch_index: int) -> None:
        """Collect the loss of each step of the order."""
        losses = self.losses(batch["tokens"], batch["label"], self.orders[0])  # [B, N]
        self.step_losses += torch.stack(
            [losses[:, slots.start : slots.stop].mean(1).sum() for slots in self.orders[0].step_slots]
        )
        self.validated += len(losses)
        for place, order in enumerate(self.orders[1:]):
            self.further_losses[place] += self.losses(batch["tokens"], batch["label"], order).mean(1).sum()

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self._begin_to_count()

    def on_validation_epoch_end(self) -> None:
        """Log the held-out loss: over all tokens, over one-by-one and parallel steps, in each order."""
        reduce = self.trainer.strategy.reduce
        self.step_losses = reduce(self.step_losses, reduce_op="sum")
        self.validated = reduce(self.validated, reduce_op="sum")
        self.further_losses = reduce(self.further_losses, reduce_op="sum") / self.validated
        self.step_losses /= self.validated
        sizes = torch.tensor([len(slots) for slots in self.orders[0].step_slots]).to(self.step_losses)
        self.log("val/loss", ((self.step_losses * sizes).sum() / sizes.sum()).float())
        for name, chosen in (("single", sizes == 1), ("parallel", sizes > 1)):
            if chosen.any():
                self.log(f"val/loss_{name}", self.step_losses[chosen].mean().float())
        for spec, loss in zip(self.order_specs[1:], self.further_losses.float(), strict=True):
            self.log(f"val/loss_{spec.name}", loss)

    def _begin_to_count(self) -> None:
        # No buffers: DDP sends the first device's over the others', and a precision would round them.
        self.step_losses = torch.zeros(self.orders[0].steps, dtype=torch.float64, device=self.device)
        self.further_losses = self.step_losses.new_zeros(len(self.orders) - 1)
        self.validated = self.step_losses.new_zeros(())

    def losses(self, tokens: Tensor, labels: Tensor, order: GenerationOrder) -> Tensor:
        """Cross entropy ``[B, N]`` in an order, of tokens ``[B, t, h, w]`` given labels ``[B]``."""
        ordered = order.flatten(tokens)
        logits = self.transformer(ordered, labels, self.transformer.layout(order))
        return next_token_loss(logits, ordered, self.transformer.codebook_factors)

    @property
    def taught_share(self) -> float:
        """The part of the batches that learn from a teacher: those that are not in 1x; 0 without one."""
        if self.teacher is None:
            return 0.0
        weights = self.order_weights or [1.0] * len(self.order_specs)
        return 1 - weights[self.teacher] / sum(weights)

    def distilled_losses(
        self, tokens: Tensor, labels: Tensor, order: GenerationOrder
    ) -> tuple[Tensor, Tensor]:
        """`losses` in an order, and its divergence ``[B, N]`` from the teacher at the same places.

        The teacher comes second: under autocast a weight's copy that it made first would have no gradient.
        """
        assert self.teacher is not None
        teacher, codebook_factors = self.orders[self.teacher], self.transformer.codebook_factors
        ordered, raster = order.flatten(tokens), teacher.flatten(tokens)
        logits = self.transformer(ordered, labels, self.transformer.layout(order))
        with as_teacher(self.transformer):
            taught = self.transformer(raster, labels, self.transformer.layout(teacher))
        there = teacher.inverse[order.permutation].to(taught.device)  # the teacher's slot of each token
        divergences = token_divergence(taught[:, there], logits, codebook_factors)
        return next_token_loss(logits, ordered, codebook_factors), divergences

    def _drawn_order(self) -> GenerationOrder:
        """The order of this batch: drawn from its number, so the same on all devices and after a resume."""
        if len(self.orders) == 1:
            return self.orders[0]
        return draw_order(self.orders, self.order_weights, batches_begun(self.trainer))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient as the trainer says.

        Lightning refuses to where precision is mixed and AdamW is fused, for a fused optimizer would also
        undo a scaling of the gradients; bfloat16 scales nothing.
        """
        if self.trainer.precision != "bf16-mixed" or not gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with decay on matrices alone; warm-up, then half a cosine."""
        parameters = [parameter for parameter in self.transformer.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        fused = self.fused
        if fused is None:
            fused = parameters[0].is_cuda and self.trainer.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, fused=fused or None)
        steps = self.trainer.max_steps if self.max_steps is None else self.max_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, steps, self.warmup_steps, self.final_lr)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
