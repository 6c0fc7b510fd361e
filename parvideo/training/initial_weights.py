"""Training that starts from a trained model instead of from random weights."""

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info
from torch import Size, Tensor, nn

from parvideo.pretrained.folder import load_tokenizer, load_transformer
from parvideo.tokenizer import VideoTokenizer


def start_from(network: nn.Module, folder: Path, new_decoder: bool = False) -> None:
    """Give ``network`` the weights of a model folder.

    Args:
        network: a tokenizer, or a transformer.
        folder: the model folder, run folder or (for a tokenizer) generator's folder.
        new_decoder: of a tokenizer, leave a decoder of another form than the folder's as it is, so that it
            starts from random weights; that is said.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: naming the first weights that differ in name or shape; nothing has changed then.
    """
    load = load_tokenizer if isinstance(network, VideoTokenizer) else load_transformer
    there, here = load(folder).state_dict(), network.state_dict()
    if new_decoder and _shapes(there, "decoder.") != _shapes(here, "decoder."):
        rank_zero_info(f"The decoder has another form than that of {folder}: it starts from random weights.")
        own = {name: value for name, value in here.items() if name.startswith("decoder.")}
        there = {name: value for name, value in there.items() if not name.startswith("decoder.")} | own
    for name in sorted(there.keys() | here.keys()):
        shapes = [list(state[name].shape) if name in state else "missing" for state in (there, here)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"init_from: {folder} does not fit: {name} is {shapes[0]} there and {shapes[1]} in the model "
                "to train; give both the same settings"
            )
    network.load_state_dict(there)


def _shapes(state: Mapping[str, Tensor], prefix: str) -> dict[str, Size]:
    return {name: value.shape for name, value in state.items() if name.startswith(prefix)}
