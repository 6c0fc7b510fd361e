"""Learning rates over a run."""

import math


def warmup_cosine(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """The learning rate's factor: a line from 0 over ``warmup_steps``, then half a cosine to ``final``."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
