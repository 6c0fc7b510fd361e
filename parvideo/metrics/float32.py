"""Computing in float32 whatever the process around does: where rounding would change what is compared."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Inside, float32 is float32 whatever surrounds it: no autocast, and no TF32 in convolutions, which cuDNN
    takes by default. A rounding near a border is another token, and other features are another FVD.
    """
    cudnn = torch.backends.cudnn
    flags = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    with torch.autocast(device.type, enabled=False), cudnn.flags(**flags, allow_tf32=False):
        yield
