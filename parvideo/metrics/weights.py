"""Files of network weights, told apart by their content: safetensors, PyTorch state dict, TorchScript.

Reading executes nothing but TorchScript, which is a program by nature and is opened only where the caller
accepts one.
"""

import zipfile
from typing import Any, Literal

import torch
from torch import Tensor, nn

from parvideo.files import AnyPath, check_file
from parvideo.state_dicts import read_safetensors, unpickle, what_it_looks_like

WeightsKind = Literal["safetensors", "state_dict", "torchscript"]


def weights_kind(path: AnyPath) -> WeightsKind:
    """What kind of weights file this is, by its content and not its name.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is none of the three kinds.
    """
    path = check_file(path)
    with path.open("rb") as file:
        head = file.read(9)
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path} is a damaged archive: {error}") from error
        parts = {name.split("/", 1)[-1] for name in names}
        if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
            return "torchscript"
        if "data.pkl" in parts:
            return "state_dict"
    elif len(head) == 9 and head[8:] == b"{" and 0 < int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    elif head[:1] == b"\x80":  # a pickle, perhaps of the old torch.save; read with weights_only or refused
        return "state_dict"
    raise ValueError(
        f"{path} is neither safetensors nor a PyTorch state dict nor TorchScript, or it is cut off; "
        f"download it again{what_it_looks_like(path)}"
    )


def read_state(path: AnyPath) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a PyTorch file, on the CPU; a ``state_dict`` entry is unwrapped.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if the file is damaged, holds code or objects other than tensors, or is TorchScript.
    """
    kind = weights_kind(path)
    if kind == "torchscript":
        raise ValueError(f"{path} is TorchScript, not a state dict; convert it with tools/convert/i3d.py")
    state = read_safetensors(path) if kind == "safetensors" else unpickle(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        raise ValueError(f"{path} holds no state dict (a mapping of names to tensors)")
    return state


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
