"""TorchScript networks: programs by nature, opened only where the caller accepts one, and held to a shape."""

from typing import Any

import torch
from torch import Tensor, nn

from parvideo.files import AnyPath, check_file
from parvideo.state_dicts import weights_kind


def load_script(path: AnyPath) -> torch.jit.ScriptModule:
    """A TorchScript network, on the CPU, in eval mode. It is a program: open only what you trust.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is no TorchScript file, or damaged.
    """
    path = check_file(path)
    if weights_kind(path) != "torchscript":
        raise ValueError(f"{path} is no TorchScript file")
    try:
        script: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")
    # A damaged archive fails in many ways, depending on which byte is wrong.
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is damaged, or TorchScript of another version: {reason}") from error
    return script.eval()


def run_script(script: nn.Module, path: AnyPath, shape: list[int], *inputs: Any, **options: Any) -> Tensor:
    """What a TorchScript network gives, which must be a floating-point tensor of a certain shape.

    Args:
        script: from `load_script`.
        path: its file, for messages.
        shape: what it must give.
        inputs: of its ``forward``.
        options: likewise, by name.

    Raises:
        ValueError: if it fails on them, or gives something else.
    """
    try:
        found = script(*inputs, **options)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # wherever the program fails
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")
        raise ValueError(
            f"{path} holds another network: it fails on clips {[*inputs[0].shape]}: {reason}"
        ) from error
    if not isinstance(found, Tensor) or list(found.shape) != shape or not found.is_floating_point():
        gave = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{path} holds another network: it gave {gave}, expected {shape} of floating point")
    return found.float()
