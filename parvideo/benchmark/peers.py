"""The official LlamaGen and PAR code as contenders of the benchmark, run from a checkout beside this one.

Nothing of it is contained here: a checkout's own modules are imported, and its own decoding functions called,
with random weights of the same shape. Its grid must be square, so it gets the smallest square that holds as
many tokens; only as many steps as ours are counted.
"""

import importlib
import math
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from parvideo.order import GenerationOrder
from parvideo.transformer.model import VideoTransformer


class Peer:
    """The official model and its decoding functions for one order.

    Args:
        folder: the checkout, with ``autoregressive/models/{gpt,generate}.py``.
        transformer: whose shape to take.
        order: of our grid; its group size is what the peer generates a step.
        batch: clips.
        guidance_scale: of the peer's guidance; 1 is off.
        dtype: to compute in.

    Raises:
        FileNotFoundError: if the folder holds no such code.
        ValueError: if that code has no such order.
    """

    def __init__(
        self,
        folder: Path,
        transformer: VideoTransformer,
        order: GenerationOrder,
        batch: int,
        guidance_scale: float,
        dtype: torch.dtype,
    ) -> None:
        gpt, self.generate = _load(folder)
        self.name, self.order, self.scale = folder.resolve().name, order, guidance_scale
        config = transformer.config
        self.group = max(map(len, order.step_slots))
        parallel = "spe_token_num" in gpt.ModelArgs.__dataclass_fields__
        root = math.isqrt(self.group)
        if self.group > 1 and not parallel:
            raise ValueError(f"{folder} generates one token a step, not {self.group}")
        if root * root != self.group:
            raise ValueError(f"{folder} takes a square number of regions, not {self.group}")
        side = root * math.ceil(math.sqrt(order.num_tokens) / root)
        extra = {"spe_token_num": self.group - 1, "ar_token_num": self.group} if parallel else {}
        arguments = gpt.ModelArgs(
            dim=config["dim"],
            n_layer=config["num_layers"],
            n_head=config["num_heads"],
            vocab_size=config["codebook_size"],
            num_classes=config["num_classes"],
            block_size=side * side,
            **extra,
        )
        self.model = gpt.Transformer(arguments).to(dtype).eval()
        torch.nn.init.normal_(self.model.output.weight, std=0.02)
        rows = batch * (2 if guidance_scale > 1 else 1)
        self.model.setup_caches(max_batch_size=rows, max_seq_length=side * side + 1, dtype=dtype)
        for layer in self.model.layers:
            layer.attention.kv_cache.k_cache.normal_()
            layer.attention.kv_cache.v_cache.normal_()
        self.labels = torch.zeros(rows, dtype=torch.int64)
        self.tokens = torch.zeros(batch, self.group, dtype=torch.int64)
        self.drawing: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "sample_logits": True}
        self.step(0)

    @torch.no_grad()
    def step(self, step: int) -> None:
        """The step of the peer that generates the same slots."""
        slots = self.order.step_slots[step]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its use of functions that PyTorch has renamed since
            if step == 0:
                self.generate.prefill(self.model, self.labels, torch.arange(1), self.scale, **self.drawing)
            elif len(slots) == 1:
                position = torch.tensor([slots.start])
                self.generate.decode_n_tokens(
                    self.model, self.tokens[:, :1], position, 1, self.scale, -1, **self.drawing
                )
            else:
                positions = torch.arange(slots.start, slots.stop)
                self.generate.decode_n_tokens_multi(
                    self.model,
                    self.tokens,
                    positions,
                    self.group,
                    self.scale,
                    -1,
                    self.group,
                    **self.drawing,
                )


def supports(folder: Path, order: GenerationOrder) -> bool:
    """Whether the checkout can generate in groups of this order's size."""
    gpt, _ = _load(folder)
    group = max(map(len, order.step_slots))
    parallel = "spe_token_num" in gpt.ModelArgs.__dataclass_fields__
    return group == 1 or (parallel and math.isqrt(group) ** 2 == group)


_loaded: dict[Path, tuple[ModuleType, ModuleType]] = {}


def _load(folder: Path) -> tuple[ModuleType, ModuleType]:
    """A checkout's modules ``gpt`` and ``generate``, apart from another checkout's of the same names."""
    folder = folder.resolve()
    if folder not in _loaded:
        if not (folder / "autoregressive/models/generate.py").is_file():
            raise FileNotFoundError(
                f"{folder} holds no autoregressive/models/generate.py: no LlamaGen, no PAR"
            )
        before = set(sys.modules)
        sys.path.insert(0, str(folder))
        try:
            modules = tuple(
                importlib.import_module(f"autoregressive.models.{name}") for name in ("gpt", "generate")
            )
        finally:
            sys.path.remove(str(folder))
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in ("autoregressive", "utils"):
                    del sys.modules[name]
        _loaded[folder] = (modules[0], modules[1])
    return _loaded[folder]
