"""Files of network weights, told apart by their content: safetensors, PyTorch state dict, TorchScript.

Reading executes nothing but TorchScript, which is a program by nature and is opened only where the caller
accepts one.
"""

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

WeightsKind = Literal["safetensors", "state_dict", "torchscript"]


def weights_kind(path: Path) -> WeightsKind:
    """What kind of weights file this is, by its content and not its name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of the three kinds.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    with path.open("rb") as file:
        head = file.read(9)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
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
        "download it again"
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a PyTorch file, on the CPU; a ``state_dict`` entry is unwrapped.

    Raises:
        ValueError: if the file is damaged, holds code or objects other than tensors, or is TorchScript.
    """
    kind = weights_kind(path)
    if kind == "torchscript":
        raise ValueError(f"{path} is TorchScript, not a state dict; convert it with tools/convert_i3d.py")
    if kind == "safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is a damaged safetensors file: {error}") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is refused: it is damaged, or a pickle that holds more than tensors and could run code "
            f"({str(error).splitlines()[0]})"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict (a mapping of names to tensors)")
    return state
