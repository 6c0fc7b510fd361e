"""NBP's published tokenizer: the names of its tensors, and its weights in `CausalVideoTokenizer`'s form.

NBP (next-block prediction) published a re-implementation of MAGVIT-v2 trained on UCF-101, `magvit2_ucf.pt`:
``{"model_state_dict": {"module." + name: tensor}}`` with 434 tensors. The preset "nbp" has its architecture.
"""

from collections.abc import Mapping

from torch import Tensor

FIRST_CONV = "encoder.1.conv"
LAST_CONV = "decoder.25.conv"
PREFIX = "module."

_BLOCK = {
    "norm1.weight": "fn.0.weight",
    "norm1.bias": "fn.0.bias",
    "act1.beta": "fn.1.beta",
    "conv1.conv.weight": "fn.2.conv.weight",
    "conv1.conv.bias": "fn.2.conv.bias",
    "norm2.weight": "fn.3.weight",
    "norm2.bias": "fn.3.bias",
    "act2.beta": "fn.4.beta",
    "conv2.conv.weight": "fn.5.conv.weight",
    "conv2.conv.bias": "fn.5.conv.bias",
}
_SHORTCUT = {
    "shortcut.weight": "residual_fn.0.conv.weight",
    "shortcut.bias": "residual_fn.0.conv.bias",
}
_CONV = {"conv.weight": "conv.weight", "conv.bias": "conv.bias"}
_PLAIN_CONV = {"conv.weight": "weight", "conv.bias": "bias"}
_UP = {"conv.conv.weight": "conv.weight", "conv.conv.bias": "conv.bias"}


def nbp_names() -> dict[str, str]:
    """For each tensor of the preset "nbp", the name of NBP's tensor (without ``module.``)."""
    names: dict[str, str] = {}

    def add(ours: str, theirs: str, parts: Mapping[str, str]) -> None:
        names.update({f"{ours}.{part}": f"{theirs}.{name}" for part, name in parts.items()})

    def norm(side: str, ours: int, theirs: int) -> None:
        # Theirs are two layers, norm and Swish; ours is one.
        add(
            f"{side}.{ours}.norm",
            f"{side}_layers.{theirs}",
            {"weight": "weight", "bias": "bias"},
        )
        add(f"{side}.{ours}.act", f"{side}_layers.{theirs + 1}", {"beta": "beta"})

    # Ours begins with folding pixels into channels (here a no-op), hence the shift by one.
    for theirs in range(24):
        ours = f"encoder.{theirs + 1}"
        if theirs in (0, 5, 10, 15):
            add(ours, f"encoder_layers.{theirs}", _CONV)
        else:
            add(ours, f"encoder_layers.{theirs}", _BLOCK | (_SHORTCUT if theirs in (6, 16) else {}))
    norm("encoder", 25, 24)
    add("encoder.26", "encoder_layers.26", _PLAIN_CONV)

    # Theirs counts depth to space as a layer of its own (10, 16, 22); ours is part of the upsampling.
    ours_index = 0
    for theirs in range(27):
        if theirs in (10, 16, 22):
            continue
        ours, name = f"decoder.{ours_index}", f"decoder_layers.{theirs}"
        if theirs == 0:
            add(ours, name, _CONV)
        elif theirs in (9, 15, 21):
            add(ours, name, _UP)
        else:
            add(ours, name, _BLOCK | (_SHORTCUT if theirs in (11, 23) else {}))
        ours_index += 1
    norm("decoder", ours_index, 27)
    add(f"decoder.{ours_index + 1}", "decoder_layers.29", _CONV)
    return names


def convert_nbp(checkpoint: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """NBP's checkpoint as a state dict of the preset "nbp".

    NBP's pixels lie in [0, 1] and ours in [-1, 1]. The difference is folded into the first and the last
    convolution, which is exact because a frame's border is padded by repeating it, never by zeros.

    Args:
        checkpoint: what `torch.load` gives for `magvit2_ucf.pt`.

    Raises:
        ValueError: if tensors are missing or left over.
    """
    if "model_state_dict" not in checkpoint:
        raise ValueError(f"the checkpoint must hold 'model_state_dict', found {sorted(checkpoint)}")
    theirs = {name.removeprefix(PREFIX): value for name, value in checkpoint["model_state_dict"].items()}
    names = nbp_names()
    missing, unknown = set(names.values()) - set(theirs), set(theirs) - set(names.values())
    if missing or unknown:
        raise ValueError(
            f"not NBP's tokenizer: it lacks {sorted(missing)[:5]} and has unknown {sorted(unknown)[:5]}"
        )
    state = {ours: theirs[name].clone() for ours, name in names.items()}
    first, last = state[f"{FIRST_CONV}.weight"], state[f"{LAST_CONV}.weight"]
    state[f"{FIRST_CONV}.bias"] += first.sum(dim=(1, 2, 3, 4)) / 2
    state[f"{FIRST_CONV}.weight"] = first / 2
    state[f"{LAST_CONV}.weight"] = last * 2
    state[f"{LAST_CONV}.bias"] = state[f"{LAST_CONV}.bias"] * 2 - 1
    return state
