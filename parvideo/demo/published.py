"""The real thing: clips sampled in seconds from models that come with the clone, and their published figures.

`make_showcase` does the work once and leaves clips and figures in a folder; `read_showcase` puts them on
the page. A model's folder may hold, beside what `parvideo export` writes, ``report.json`` (of `parvideo
evaluate`) and ``preview.npz`` (``clips``, uint8 ``[n, T, H, W, 3]``, a few real ones, and their ``labels``).
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parvideo.demo.page_data import ClassClips, ClipColumn, ClipTable, Result, Showcase
from parvideo.evaluation.report import read_report
from parvideo.files import atomic_path, read_json
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import CONFIG
from parvideo.sampling import SamplingConfig
from parvideo.tokenizer import VideoTokenizer

PUBLISHED, PREVIEW, REPORT = "published", "preview.npz", "report.json"
MOST_CLASSES, MOST_MODELS = 6, 3
REAL, RECONSTRUCTED = "Real", "Reconstructed"
NO_MODELS = (
    "No trained models came with this copy of parvideo: a clone holds them in data/models. So nothing of "
    "real video is shown here."
)


def models_folder() -> Path:
    """Where a clone keeps trained models; an installed package has no such folder."""
    return Path(__file__).resolve().parents[2] / "data" / "models"


def find_models(folder: Path) -> list[Path]:
    """The generators' model folders in a folder, by name; none where there is no such folder."""
    configs = sorted(folder.glob(f"*/{CONFIG}"))
    return [path.parent for path in configs if read_json(path).get("kind") == "generator"][:MOST_MODELS]


def make_showcase(models: list[Path], out: Path, seed: int) -> dict[str, Any]:
    """Sample a clip of each class, six at most, from each model; put its real previews through its tokenizer.

    Args:
        models: generators' model folders.
        out: folder for a ``<model>.npz`` each.
        seed: of the clips.

    Returns:
        For each model, what the page says of it: JSON-able.

    Raises:
        FileNotFoundError, ValueError: if a model, report or preview cannot be read, naming it.
    """
    shown: dict[str, Any] = {}
    for folder in models:
        pipeline = VideoPipeline.from_pretrained(folder)
        report = read_report(folder / REPORT) if (folder / REPORT).exists() else None
        order = min(pipeline.orders, key=lambda order: order.steps)
        labels = torch.arange(min(MOST_CLASSES, len(pipeline.class_names)))
        started = time.perf_counter()
        tokens = pipeline.generate_tokens(labels, seed, published_sampling(report), len(labels), order=order)
        clips: dict[str, NDArray[Any]] = {"generated": pipeline.decode(tokens, len(labels)).numpy()}
        seconds = time.perf_counter() - started
        if (folder / PREVIEW).exists():
            clips |= reconstruct_preview(folder / PREVIEW, pipeline.tokenizer, len(pipeline.class_names))
        with atomic_path(out / f"{folder.name}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, labels=labels.numpy(), **clips)
        shown[folder.name] = {
            "classes": pipeline.class_names,
            "fps": 8.0 if pipeline.fps is None else pipeline.fps,
            "order": order.name,
            "steps": order.steps,
            "clips": len(labels),
            "seconds": seconds,
            "figures": [] if report is None else published_figures(folder.name, report),
        }
    return shown


def published_sampling(report: dict[str, Any] | None) -> SamplingConfig:
    """How the clips of a report were drawn; plainly where it does not say."""
    sampling = {} if report is None else report.get("generated", {}).get("sampling", {})
    names = ("temperature", "top_k", "top_p", "guidance_scale", "guidance_schedule")
    return SamplingConfig(**{name: sampling[name] for name in names if name in sampling})


def reconstruct_preview(path: Path, tokenizer: VideoTokenizer, classes: int) -> dict[str, NDArray[Any]]:
    """Real clips from a preview file, their labels, and what the tokenizer makes of them.

    Raises:
        ValueError: if the file does not hold ``clips``, uint8 ``[n, T, H, W, 3]``, and their ``labels``.
    """
    with np.load(path, allow_pickle=False) as held:
        real, labels = held.get("clips"), held.get("labels")
    if (
        real is None
        or labels is None
        or real.dtype != np.uint8
        or real.ndim != 5
        or labels.shape != real.shape[:1]
        or not ((labels >= 0) & (labels < classes)).all()
    ):
        raise ValueError(
            f"{path} must hold clips, uint8 [n, T, H, W, 3], and labels [n] from 0 to {classes - 1}"
        )
    with torch.inference_mode():
        given: Tensor = to_float(torch.from_numpy(real))
        made = to_uint8(tokenizer.decode(tokenizer.encode(given)))
    return {"real": real, "real_labels": labels, "reconstructed": made.numpy()}


def published_figures(name: str, report: dict[str, Any]) -> list[list[str]]:
    """A model's published figures as rows of `Result`."""
    first = report["repeats"][0]
    error = "" if first.get("standard_error") is None else f" ± {first['standard_error']:,.1f}"
    floor = first.get("floor")
    scores = f"{first.get('fake_count')} generated against {first.get('real_count')} real clips"
    rows = [
        [
            f"{report['metric']} of {name}",
            f"{report['fvd']:,.1f}{error}",
            "" if floor is None else f"{floor['scaled']:,.1f}, real against real",
            f"{scores}, protocol {report['protocol'].get('name')}. {report.get('comparability', '')}".strip(),
        ]
    ]
    if isinstance(held_out := report.get("held_out"), dict) and "fvd" in held_out:
        rows.append(
            [
                f"against the held-out split, {name}",
                f"{held_out['fvd']:,.1f}",
                "",
                "clips it was not trained on",
            ]
        )
    if isinstance(accuracy := report.get("class_accuracy"), dict):
        rows.append(
            [
                f"class read, {name}",
                f"{accuracy['generated']['accuracy']:.0%}",
                f"{accuracy['held_out']['accuracy']:.0%} of held-out real clips",
                str(accuracy["kind"]),
            ]
        )
    return rows


def read_showcase(shown: dict[str, Any] | None, out: Path) -> Showcase:
    """What the page shows of it; without models, the sentence that says so.

    Args:
        shown: what `make_showcase` returned; None where there are no models.
        out: the folder it wrote to.
    """
    if not shown:
        return Showcase(NO_MODELS, None, [])
    held = {name: dict(np.load(out / f"{name}.npz", allow_pickle=False)) for name in shown}
    first = next(iter(shown.values()))
    real = next(((held[name], name) for name in shown if "real" in held[name]), None)
    columns = [
        ClipColumn(
            name,
            f"{entry['steps']} steps (order {entry['order']}); {entry['clips']} in {entry['seconds']:.0f} s",
        )
        for name, entry in shown.items()
    ]
    about = (
        "Clips that were sampled just now, by models that were trained on real video before and come with "
        "the clone."
    )
    if real is None:
        about += " No real clips come with them."
    else:
        columns = [
            ClipColumn(REAL, "a preview of what they were trained for"),
            ClipColumn(RECONSTRUCTED, f"through the tokenizer of {real[1]}"),
            *columns,
        ]
    titles = list(
        dict.fromkeys(title for entry in shown.values() for title in entry["classes"][:MOST_CLASSES])
    )
    classes = []
    for title in titles:
        clips = {
            name: held[name]["generated"][_of_class(held[name]["labels"], entry["classes"], title)]
            for name, entry in shown.items()
        }
        if real is not None:
            mine = _of_class(real[0]["real_labels"], shown[real[1]]["classes"], title)
            clips |= {REAL: real[0]["real"][mine], RECONSTRUCTED: real[0]["reconstructed"][mine]}
        classes.append(ClassClips(title, {name: some for name, some in clips.items() if len(some)}))
    figures = [Result(*row) for entry in shown.values() for row in entry["figures"]]
    if not figures:
        about += " No report of how they score lies beside them."
    return Showcase(about, ClipTable(columns, classes, first["fps"]), figures)


def _of_class(labels: NDArray[Any], names: list[str], title: str) -> NDArray[np.bool_]:
    """Which labels ``[n]`` are of the class of this name, which a model may not have."""
    chosen: NDArray[np.bool_] = labels == (names.index(title) if title in names else -1)
    return chosen
