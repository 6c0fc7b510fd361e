"""How the graph engine computes its steps: what only a measurement on the GPU at hand can choose."""

from dataclasses import dataclass

from parvideo.engine.static_attention import AttentionWay, check_way


@dataclass(frozen=True)
class GraphRecipe:
    """One way to compute static steps; all give the same tokens, up to rounding.

    Attributes:
        compiled: torch.compile's backend for the parts of a layer around attention, such as ``inductor``;
            None for kernels as they are. Compiled or not, a step is captured in our own CUDA graphs.
        attention: see `parvideo.engine.static_attention`.
        bucket: a step attends to its slots rounded up to a multiple of this: with fewer there are more graphs
            to capture (N / 128 for each size of a group), with more a step reads more slots in vain (64 on
            average).

    Raises:
        ValueError: if the way of attention is unknown, or the bucket is not positive.
    """

    compiled: str | None = None
    attention: AttentionWay = "sdpa"
    bucket: int = 128

    def __post_init__(self) -> None:
        check_way(self.attention)
        if self.bucket < 1:
            raise ValueError(f"bucket must be positive, got {self.bucket}")

    @property
    def name(self) -> str:
        """The recipe in a word, as tables call it."""
        return f"{self.compiled or 'plain'} {self.attention} {self.bucket}"


_WAYS: tuple[tuple[AttentionWay, int], ...] = (("sdpa", 128), ("split", 128), ("flex", 256))
RECIPES = tuple(GraphRecipe(compiled, *way) for compiled in (None, "inductor") for way in _WAYS)
"""Those that `python -m tools.gpu_day` times against each other."""

DEFAULT = GraphRecipe()
"""The engine's own. No GPU has measured it: gpu_day's stage `recipes` names the fastest, to be put here."""
