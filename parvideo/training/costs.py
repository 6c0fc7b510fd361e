"""Costs: the memory and time that training and sampling a generator take, by formula, before it is built.

Counted are the tensors that PyTorch keeps, as tests compare with a measured model: parameters exactly,
what the backward pass saves on a CPU to the byte, matrix products by PyTorch's own counter. Attention is
taken to be fused, so scores are never stored. On CUDA dropout keeps a byte a value, not a value, and fused
norms keep less: there the activations are an upper bound. They are one, too, in bfloat16 on a CPU that
multiplies it (`parvideo.transformer.stairs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parvideo.order import GenerationOrder
from parvideo.transformer.cache import kv_bytes

FLOAT32, BFLOAT16 = 4, 2
ADAM_BYTES = 2 * FLOAT32
"""AdamW's two moments of one parameter."""


@dataclass(frozen=True)
class TransformerCosts:
    """The sizes that decide what a `VideoTransformer` costs.

    Attributes:
        tokens: N, of one clip.
        pairs: (query, key) pairs of slots that the order's mask lets through.
        largest_group: tokens of the largest step.
        embeddings: rows of all embedding tables together.
        outputs: of the head: the codebook's size, or the sum of its factors.
        dim: width.
        layers: number of blocks.
        heads: query heads.
        kv_dim: width of keys, and of values.
        ffn_hidden: width of the feed-forward layers.
        head_norm: width of the query and key norms of a layer together; 0 without.
        dropout: whether dropout on residuals keeps masks.
    """

    tokens: int
    pairs: int
    largest_group: int
    embeddings: int
    outputs: int
    dim: int
    layers: int
    heads: int
    kv_dim: int
    ffn_hidden: int
    head_norm: int
    dropout: bool

    @classmethod
    def of(cls, config: Mapping[str, Any], order: GenerationOrder) -> "TransformerCosts":
        """The costs of the transformer with this `VideoTransformer.config`, in an order."""
        head_dim = config["dim"] // config["num_heads"]
        places = sum(order.grid) if config["target_position_embedding"] else 0
        places += len(config.get("order_names", []))
        return cls(
            tokens=order.num_tokens,
            pairs=int(order.mask.sum()),
            largest_group=max(map(len, order.step_slots)),
            embeddings=config["codebook_size"]
            + config["num_classes"]
            + 1
            + config["num_transitions"]
            + places,
            outputs=sum(config["codebook_factors"] or [config["codebook_size"]]),
            dim=config["dim"],
            layers=config["num_layers"],
            heads=config["num_heads"],
            kv_dim=config["num_kv_heads"] * head_dim,
            ffn_hidden=config["ffn_hidden"],
            head_norm=2 * head_dim if config["qk_norm"] else 0,
            dropout=config["dropout"] > 0,
        )

    @property
    def block_matrix(self) -> int:
        """Weights of one block's matrices: queries, keys, values, output; gate, up, down."""
        return self.dim * (2 * self.dim + 2 * self.kv_dim) + 3 * self.dim * self.ffn_hidden

    @property
    def block_parameters(self) -> int:
        """Parameters of one block: its matrices and its norms."""
        return self.block_matrix + 2 * self.dim + self.head_norm

    @property
    def parameters(self) -> int:
        """Parameters in all: embeddings, blocks, the last norm, the head."""
        return (
            self.embeddings * self.dim
            + self.layers * self.block_parameters
            + self.dim
            + self.outputs * self.dim
        )

    @property
    def matrix_parameters(self) -> int:
        """Parameters that are multiplied by every token: all but embeddings and norms."""
        return self.layers * self.block_matrix + self.outputs * self.dim

    def forward_flops(self, pairs: int | None = None) -> int:
        """Floating-point operations of one clip forward: matrix products, two operations a multiply-add.

        Args:
            pairs: of slots that attention computes; those that see each other if not given.
        """
        pairs = self.pairs if pairs is None else pairs
        return 2 * self.tokens * self.matrix_parameters + 4 * pairs * self.dim * self.layers

    @property
    def training_flops(self) -> int:
        """Of one clip forward and backward, as MFU counts (PaLM, arXiv 2204.02311, appendix B)."""
        return 3 * self.forward_flops()

    @property
    def recomputed_flops(self) -> int:
        """Of one clip, what gradient checkpointing does a second time: the blocks forward."""
        return self.forward_flops() - 2 * self.tokens * self.outputs * self.dim

    def block_saved(self, mixed: bool) -> int:
        """Bytes that one block saves for one clip's backward pass, dropout's masks among them.

        Args:
            mixed: bfloat16 products beside a float32 residual stream, not float32 throughout.
        """
        value = BFLOAT16 if mixed else FLOAT32
        norms = 2 * (2 * FLOAT32 + value) * self.dim + (value * self.dim if mixed else 0)
        attention = value * (2 * self.dim + 3 * self.kv_dim + 2 * self.dim) + FLOAT32 * self.heads
        feed_forward = 4 * value * self.ffn_hidden
        masks = 2 * value * self.dim if self.dropout else 0
        rows = norms + 2 * FLOAT32 + attention + feed_forward + masks
        return rows * self.tokens

    def activation_bytes(self, batch: int, mixed: bool, checkpointing: bool) -> int:
        """Bytes saved for the backward pass of ``batch`` clips by everything but the loss.

        With gradient checkpointing each block keeps its input alone, and one block at a time all the rest.
        """
        value = BFLOAT16 if mixed else FLOAT32
        embedding = FLOAT32 * self.dim * self.tokens if self.dropout else 0
        last_norm = ((2 * FLOAT32 + value) * self.dim + FLOAT32) * self.tokens
        block = self.block_saved(mixed)
        blocks = self.layers * block
        if checkpointing:
            blocks = self.layers * FLOAT32 * self.dim * self.tokens + block
        masks = (1 if checkpointing else self.layers) * value * self.tokens**2  # the order's, once a block
        return batch * (embedding + blocks + last_norm) + masks

    def logit_bytes(self, batch: int, saved: bool = False) -> int:
        """Bytes of the logits of ``batch`` clips at the loss's peak, or what the loss saves of them.

        Three float32 copies: the log-probabilities that are saved, and, when the backward pass begins, the
        gradients by them and by the logits.
        """
        return (1 if saved else 3) * FLOAT32 * batch * self.tokens * self.outputs

    def state_bytes(self, mixed: bool, average: bool, shards: int = 1, buckets: bool = False) -> int:
        """Bytes that stay through a training step, besides activations.

        Args:
            mixed: bfloat16 copies of the matrices, too.
            average: an exponential moving average, too.
            shards: devices that share weights, gradients and moments (FSDP); 1 for none.
            buckets: DDP's second copy of the gradients.
        """
        each = FLOAT32 + FLOAT32 + ADAM_BYTES + (FLOAT32 if average else 0)
        each += FLOAT32 if buckets else 0
        return self.parameters * each // shards + (self.matrix_parameters * BFLOAT16 if mixed else 0)

    def cache_bytes(self, clips: int, guided: bool, value: int = BFLOAT16) -> int:
        """Bytes of keys and values when ``clips`` are sampled together; guidance doubles the rows."""
        return kv_bytes(self.layers, clips * (2 if guided else 1), self.tokens, self.kv_dim, value)

    def token_bytes(self, clips: int, codebook_size: int) -> int:
        """Bytes of ``clips`` token grids on disk."""
        return clips * self.tokens * (2 if codebook_size <= 2**16 else 4)


@dataclass(frozen=True)
class Machine:
    """Devices to count costs for.

    Attributes:
        name: as printed.
        devices: how many.
        memory: bytes of one.
        peak_flops: of one, dense bfloat16 products.
    """

    name: str
    devices: int
    memory: int
    peak_flops: float


MACHINES = (
    Machine("1 x 24 GB (RTX 4090)", 1, 24 * 10**9, 165.2e12),
    Machine("1 x 80 GB (A100)", 1, 80 * 10**9, 312e12),
    Machine("8 x 80 GB (A100)", 8, 80 * 10**9, 312e12),
)
"""The makers' figures for dense bfloat16 with float32 accumulation."""

RESERVED = 0.1
"""Part of a device's memory left to the CUDA context and to what the allocator cannot use."""


@dataclass(frozen=True)
class Fit:
    """How a model trains on a machine.

    Attributes:
        checkpointing: whether blocks are recomputed in the backward pass.
        micro_batch: clips on a device at a time; 0 if not even one fits.
        accumulation: micro-batches of an optimizer step.
        memory: bytes on a device at the peak.
        seconds: of one optimizer step.
    """

    checkpointing: bool
    micro_batch: int
    accumulation: int
    memory: int
    seconds: float


def training_bytes(
    costs: TransformerCosts, batch: int, mixed: bool, checkpointing: bool, average: bool, devices: int
) -> int:
    """Bytes on each device at the peak of a training step under DDP.

    The peak is where the backward pass begins: everything is saved, the logits' gradients are alive. The
    optimizer's own work space, one float32 copy, comes when activations are gone, and counts if it is more.
    """
    saved = costs.activation_bytes(batch, mixed, checkpointing) + costs.logit_bytes(batch)
    state = costs.state_bytes(mixed, average, buckets=devices > 1)
    return state + max(saved, costs.parameters * FLOAT32)


def fit_machine(
    costs: TransformerCosts,
    machine: Machine,
    global_batch: int,
    checkpointing: bool,
    mfu: float,
    mixed: bool = True,
    average: bool = True,
) -> Fit:
    """The largest micro-batch that fits a machine, and the time of an optimizer step with it.

    Args:
        costs: the model.
        machine: where it trains.
        global_batch: clips of an optimizer step.
        checkpointing: recompute blocks, which costs another forward pass.
        mfu: part of the peak that is reached, of the operations that MFU counts; stated, not known.
        mixed: see `TransformerCosts.block_saved`.
        average: whether an average of the weights is kept.

    Raises:
        ValueError: if the batch cannot be shared out, or ``mfu`` is not in (0, 1].
    """
    if not 0 < mfu <= 1:
        raise ValueError(f"mfu is {mfu}; it must lie in (0, 1], such as 0.4")
    if global_batch < 1 or global_batch % machine.devices:
        raise ValueError(f"global_batch is {global_batch}; {machine.devices} devices must divide it")
    share = global_batch // machine.devices
    usable = machine.memory * (1 - RESERVED)
    flops = costs.training_flops + (costs.recomputed_flops if checkpointing else 0)
    seconds = global_batch * flops / (machine.devices * machine.peak_flops * mfu)
    for micro in [size for size in range(share, 0, -1) if share % size == 0]:
        memory = training_bytes(costs, micro, mixed, checkpointing, average, machine.devices)
        if memory <= usable:
            return Fit(checkpointing, micro, share // micro, memory, seconds)
    least = training_bytes(costs, 1, mixed, checkpointing, average, machine.devices)
    return Fit(checkpointing, 0, 0, least, seconds)
