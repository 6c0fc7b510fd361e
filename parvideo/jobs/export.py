"""Exporting: the model in a run's newest good checkpoint, as a model folder."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from parvideo.pretrained.folder import (
    CONFIG,
    TOKENIZER,
    fingerprint,
    load_tokenizer,
    load_transformer,
    save_generator,
    save_tokenizer,
)
from parvideo.pretrained.orders import read_transformer_config
from parvideo.tokenizer import TOKENIZERS, VideoTokenizer
from parvideo.training.checkpoints import find_checkpoint, read_model
from parvideo.training.description import described_format
from parvideo.transformer import VideoTransformer


def export(
    run: Path,
    out: Path,
    weights: Literal["auto", "average", "raw"] = "auto",
    checkpoint: Path | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    tokenizer: Path | None = None,
) -> str:
    """Write a trained model as a model folder; the arguments are those of `parvideo export`.

    Returns:
        What was written, in a line.

    Raises:
        ValueError: if there is no checkpoint, it is damaged, it holds no average and one is asked for, the
            run's tokenizer is another than it was trained with, or ``tokenizer`` gives clips other tokens.
        FileExistsError: if ``out`` holds a model already.
    """
    if (out / CONFIG).exists():
        raise FileExistsError(17, "there is a model already in", str(out))
    path = checkpoint or find_checkpoint(run)
    if path is None:
        raise ValueError(f"{run} has no good checkpoint; is it a run folder of `parvideo fit`?")
    model = read_model(path)
    if weights == "average" and model.average is None:
        raise ValueError(f"{path} holds no average (the run had no ema_decay); export --weights raw")
    chosen = "raw" if weights == "raw" or model.average is None else "average"
    state = model.own if model.average is None or chosen == "raw" else model.average
    description = model.description
    clip_format, extra = described_format(description), {"weights": chosen}
    # Among other things in checkpoints of format 1.
    said = description.get("orders") or description.get("extra", {}).get("orders", [])
    if description["kind"] == "generator":
        config, orders = read_transformer_config(description["config"], said)
        with torch.device("meta"):  # shapes alone: the weights come from the checkpoint
            transformer = VideoTransformer.from_config(config)
        own = _tokenizer(run, path, description)
        if tokenizer is not None:
            _check_tokens_stay(own, tokenizer)
        names = description["class_names"]
        state = _store_in(dtype, transformer, state)
        save_generator(out, transformer, names, tokenizer or own, orders, state, clip_format, extra)
        load_transformer(out)
    else:
        if tokenizer is not None:
            raise ValueError(f"--tokenizer is {tokenizer}, and {run} trains a tokenizer itself: leave it out")
        with torch.device("meta"):
            trained = TOKENIZERS[description["class"]](**description["config"])
        save_tokenizer(out, trained, _store_in(dtype, trained, state), clip_format, extra)
        load_tokenizer(out)
    return f"{out}: the {chosen} weights of {path}"


def _store_in(dtype: str | None, network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with its parameters in another dtype; buffers, such as a codebook's, stay as they are."""
    if dtype is None:
        return state
    parameters = dict(network.named_parameters())
    kind: torch.dtype = getattr(torch, dtype)
    return {name: value.to(kind) if name in parameters else value for name, value in state.items()}


def _check_tokens_stay(own: Path, other: Path) -> None:
    """Raise ValueError unless both tokenizers differ in their decoders alone."""
    one, two = load_tokenizer(own), load_tokenizer(other)
    states = [
        {name: value for name, value in network.state_dict().items() if not name.startswith("decoder.")}
        for network in (one, two)
    ]
    differ = type(one) is not type(two) or states[0].keys() != states[1].keys()
    differ = differ or not all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    if differ or not torch.equal(*(_tokens_of_noise(network) for network in (one, two))):
        raise ValueError(
            f"--tokenizer {other} gives clips other tokens than {own}, which the generator learned: only its "
            "decoder may differ (train it with decoder_only)"
        )


def _tokens_of_noise(tokenizer: VideoTokenizer) -> Tensor:
    """Tokens of one clip: they differ where weights are equal and what is done with them is not."""
    noise = torch.rand(1, 3, *tokenizer.clip_shape((2, 4, 4)), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return tokenizer.encode(2 * noise - 1)


def _tokenizer(run: Path, checkpoint: Path, description: dict[str, Any]) -> Path:
    """The generator's tokenizer: the run's own copy, or where the run found it.

    Raises:
        ValueError: if another one is there than the generator was trained with.
    """
    copy = run / "model" / TOKENIZER
    folder = copy if (copy / CONFIG).is_file() else Path(description["tokenizer"])
    expected = description.get("tokenizer_fingerprint")  # which parvideo 0.1 did not state
    found = fingerprint(folder)
    if expected not in (None, found):
        raise ValueError(
            f"{checkpoint} was trained on tokens of tokenizer {expected[:12]}, and {folder} holds "
            f"{found[:12]}: give --run the run that it comes from"
        )
    return folder
