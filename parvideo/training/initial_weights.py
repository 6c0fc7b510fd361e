"""Training that starts from a trained model instead of from random weights."""

from pathlib import Path

from torch import nn

from parvideo.pretrained.folder import load_tokenizer, load_transformer
from parvideo.tokenizer import VideoTokenizer


def start_from(network: nn.Module, folder: Path) -> None:
    """Give ``network`` the weights of a model folder.

    Args:
        network: a tokenizer, or a transformer.
        folder: the model folder, run folder or (for a tokenizer) generator's folder.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: naming the first weights that differ in name or shape; nothing has changed then.
    """
    load = load_tokenizer if isinstance(network, VideoTokenizer) else load_transformer
    there, here = load(folder).state_dict(), network.state_dict()
    for name in sorted(there.keys() | here.keys()):
        shapes = [list(state[name].shape) if name in state else "missing" for state in (there, here)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"init_from: {folder} does not fit: {name} is {shapes[0]} there and {shapes[1]} in the model "
                "to train; give both the same settings"
            )
    network.load_state_dict(there)
