"""A chain's generator as a folder to give away: model, report, model card and a few real frames beside it."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parvideo.datasets import ClipDataset, load_videos
from parvideo.evaluation.model_card import CardNotes, model_card
from parvideo.evaluation.protocols import get_protocol
from parvideo.pretrained.folder import load_orders
from tools.ucf101_six.chain import PROTOCOL

NOT_COMPARABLE = "FVD over six classes of 64x64 pixels compares with no paper."


def publish_model(out: Path, data: Path, name: str, to: Path, limits: Sequence[str]) -> None:
    """Make a folder of what may be published of a chain's generator.

    The report is that of its main order and the chain's first seed; the card shows every order's. Of the
    real videos there is one frame a class, of the held-out split.

    Args:
        out: the chain's folder.
        data: the videos it was trained on.
        name: of the generator in the chain.
        to: the folder to make; its path as a reader gives it to ``--model``.
        limits: what the model cannot do, sentences for its card.

    Raises:
        FileExistsError: if ``to`` exists.
        FileNotFoundError: if the generator or a report is missing.
    """
    if to.exists():
        raise FileExistsError(f"{to} exists; remove it, or give another folder")
    model, reports = out / "models" / name, out / "reports" / name
    orders = [order.name for order in load_orders(model)]
    scored = [_first_report(reports, order) for order in orders]
    notes = CardNotes(
        data="ucf101-six",
        license="apache-2.0",
        reports=scored,
        config=out / f"{name}-run" / "config.yaml",
        command="python -m tools.ucf101_six run --data data/ucf101/UCF-101 --out runs/ucf101_six",
        limits=(*limits, NOT_COMPARABLE),
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as held:
        folder = Path(held) / to.name
        shutil.copytree(model, folder)
        (folder / "README.md").write_text(model_card(folder, str(to), notes))
        shutil.copyfile(scored[0], folder / "report.json")
        np.savez(folder / "preview.npz", allow_pickle=False, **_preview(data))
        folder.rename(to)
    print(f"{to}: {sum(path.stat().st_size for path in to.rglob('*.*')) / 1e6:.1f} MB")


def _first_report(reports: Path, order: str) -> Path:
    found = sorted(reports.glob(f"{order}-seed*.json"))
    if not found:
        raise FileNotFoundError(f"{reports} holds no {order}-seed*.json; `run` scores every order")
    return found[0]


def _preview(data: Path) -> dict[str, Any]:
    """The first frame of a held-out clip of each class: ``clips`` uint8 ``[n, 1, H, W, 3]``, ``labels``."""
    clip_format = get_protocol(PROTOCOL).clip_format
    firsts = {record.label: record for record in reversed(load_videos(data, "test").records)}
    records = [firsts[label] for label in sorted(firsts)]
    frames, size, _ = clip_format.shape
    clips = ClipDataset(records, frames, size, fps=clip_format.fps, policy="center")
    shown = [clips[row] for row in range(len(clips))]
    return {
        "clips": np.stack([np.asarray(item["clip"])[:1] for item in shown]),
        "labels": np.array([item["label"] for item in shown]),
    }
