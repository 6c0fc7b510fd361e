"""Turn published image weights into a model folder that `parvideo sample` and `VideoPipeline` load.

    python -m tools.convert.llamagen --transformer PAR-XL-4x.pt --tokenizer vq_ds16_c2i.pt --out par-xl-4x

reads a LlamaGen or PAR class-conditional transformer and LlamaGen's VQ tokenizer from their own files.
"""

import sys
from pathlib import Path

from jsonargparse import auto_cli

from parvideo.files import error_line


def main(
    transformer: str,
    tokenizer: str,
    out: str,
    grid: int | None = None,
    heads: int | None = None,
    classes: str | None = None,
) -> None:
    """Convert a transformer and its tokenizer.

    Args:
        transformer: LlamaGen's or PAR's checkpoint, .pt or .safetensors.
        tokenizer: LlamaGen's VQ checkpoint, such as vq_ds16_c2i.pt.
        out: the model folder to write.
        grid: side of the latent grid: 16, 24 or 32 for 256, 384 or 512 pixels; known for published files.
        heads: attention heads; known for the published sizes.
        classes: text file with the class names, one a line, in label order; if not given, classes are named
            by their index.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if one is damaged, not what it should be, or the two do not belong together.
    """
    from parvideo.pipeline import VideoPipeline
    from parvideo.pretrained.folder import TOKENIZER, save_generator, save_tokenizer
    from parvideo.pretrained.llamagen import load_llamagen_tokenizer, load_published_transformer

    model, spec = load_published_transformer(Path(transformer), grid, heads)
    order = spec.build(model.grid)
    names = class_names(model.num_classes, None if classes is None else Path(classes))
    # The pipeline refuses parts that do not belong together, here before anything is written.
    pipeline = VideoPipeline(load_llamagen_tokenizer(Path(tokenizer)), model, names, orders=[order])
    folder = Path(out)
    save_tokenizer(folder / TOKENIZER, pipeline.tokenizer)
    save_generator(folder, model, names, folder / TOKENIZER, [order])
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(
        f"written to {folder}: {millions:.1f}M parameters, {model.num_classes} classes, "
        f"grid {model.grid}, {order.steps} steps an image"
    )


def class_names(count: int, path: Path | None) -> list[str]:
    """The names of ``count`` classes: the lines of a file, or their indices.

    A name may occur twice, as two do in ImageNet's usual list; the second class is then called by its index.

    Raises:
        ValueError: if the file has another number of lines, or an empty one.
    """
    if path is None:
        return [str(label) for label in range(count)]
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    if len(names) != count or "" in names:
        raise ValueError(f"{path} must hold {count} names, one a line, got {len(names)} lines")
    return names


if __name__ == "__main__":
    try:
        auto_cli(main, as_positional=False, prog="python -m tools.convert.llamagen")
    except (ValueError, OSError) as error:
        sys.exit(f"convert_weights: {error_line(error)}")
