"""Convert an I3D for FVD from TorchScript (StyleGAN-V's `i3d_torchscript.pt`) to safetensors.

    python -m tools.convert.i3d i3d_torchscript.pt i3d.safetensors

TorchScript is a program and PyTorch is retiring it; safetensors is data. Tensors are renamed to the names of
the published state dict, and the result is written only after both networks give the same logits on the same
clip, which also tells the BN epsilon to use it with. A plain state dict is converted too.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from parvideo.files import atomic_path, error_line, sha256_file
from parvideo.metrics.extractors.inception_i3d import InceptionI3d, load_i3d_state
from parvideo.state_dicts import read_state, weights_kind

BRANCHES = {"0": "b0", "1.0": "b1a", "1.1": "b1b", "2.0": "b2a", "2.1": "b2b", "3.1": "b3b"}
TOLERANCE = 1e-3


def rename(key: str) -> str:
    """The name in parvideo's (and VideoGPT's) state dict of a tensor in another published I3D.

    Known besides our own: the names of the PyTorch port from which the TorchScript file was made
    (``mixed_3b.branch_1.0.batch3d.weight``, ``conv3d_0c_1x1.conv3d.bias``).
    """
    key = re.sub(r"^(module|model|i3d)\.", "", key)
    key = key.replace(".batch3d.", ".bn.").replace("conv3d_0c_1x1.", "logits.")
    key = re.sub(r"^conv3d_(\d\w_\dx\d)\.", r"Conv3d_\1.", key)
    key = re.sub(r"^mixed_(\d\w)\.", r"Mixed_\1.", key)
    return re.sub(r"\.branch_(\d(?:\.\d)?)\.", lambda match: f".{BRANCHES.get(match[1], match[1])}.", key)


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under our names.

    Raises:
        ValueError: if the names or shapes do not make an I3D.
    """
    state = {rename(key): value.detach().float().contiguous() for key, value in tensors.items()}
    state = {k: v.long() if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    load_i3d_state(InceptionI3d(), state)
    return state


def find_bn_eps(state: Mapping[str, Tensor], script: nn.Module) -> tuple[float, float]:
    """The epsilon of batch normalisation (1e-3 or 1e-5) under which logits agree, and how closely they do.

    Raises:
        ValueError: if they agree under neither.
    """
    clip = torch.rand(1, 3, 9, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = script(clip, rescale=False, resize=False, return_features=True)
        errors = {}
        for eps in (1e-3, 1e-5):
            network = InceptionI3d(bn_eps=eps).eval()
            load_i3d_state(network, state)
            errors[eps] = (network(clip) - expected).abs().max().item()
    eps, error = min(errors.items(), key=lambda pair: pair[1])
    if error > TOLERANCE:
        raise ValueError(f"the converted network's logits differ by {error:.3g} from the TorchScript file's")
    return eps, error


def main(source: Path, target: Path) -> None:
    """Convert ``source`` to ``target``, and say under which BN epsilon the two agree."""
    if target.suffix != ".safetensors":
        raise ValueError(f"{target} must end in .safetensors")
    metadata = {"source_sha256": sha256_file(source)}
    if weights_kind(source) == "torchscript":
        script = torch.jit.load(source, map_location="cpu").eval()
        state = convert(script.state_dict())
        eps, error = find_bn_eps(state, script)
        metadata["bn_eps"] = str(eps)
        print(f"logits agree within {error:.2g} under BN epsilon {eps:g}")
    else:
        state = convert(read_state(source))
    with atomic_path(target) as temporary:
        save_file(state, temporary, metadata)
    print(f"{len(state)} tensors in {target}, SHA-256 {sha256_file(target)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tools.convert.i3d", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("source", type=Path, help="TorchScript file or state dict of an I3D")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    given = parser.parse_args()
    try:
        main(given.source, given.target)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error_line(error)}")
