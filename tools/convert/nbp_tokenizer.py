"""Convert NBP's published tokenizer (magvit2_ucf.pt) into a parvideo model folder."""

from pathlib import Path

import torch
from jsonargparse import auto_cli

from parvideo.files import sha256_file
from parvideo.pretrained.folder import save_folder
from parvideo.pretrained.nbp import convert_nbp
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS


def convert_tokenizer(checkpoint: Path, out: Path) -> None:
    """Read NBP's checkpoint and write a model folder that every parvideo command takes.

    Args:
        checkpoint: magvit2_ucf.pt. It is read with weights_only: nothing in it is executed.
        out: folder to write.
    """
    state = convert_nbp(torch.load(checkpoint, map_location="cpu", weights_only=True))
    with torch.device("meta"):
        tokenizer = CausalVideoTokenizer(**PRESETS["nbp"])
    tokenizer.load_state_dict(state, assign=True)  # checks every shape
    save_folder(
        out,
        "tokenizer",
        type(tokenizer).__name__,
        tokenizer.config,
        state,
        extra={"converted_from": checkpoint.name, "sha256": sha256_file(checkpoint)},
    )
    print(f"{len(state)} tensors, {sum(value.numel() for value in state.values()):,} values, in {out}")


if __name__ == "__main__":
    auto_cli(convert_tokenizer, prog="python -m tools.convert.nbp_tokenizer")
