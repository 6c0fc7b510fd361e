"""From videos of UCF-101 to a table of 1x, 4x and 16x with FVD by the real I3D: the whole chain on a CPU.

    python -m tools.ucf101_six run --data data/ucf101/UCF-101 --out runs/ucf101_six
    python -m tools.ucf101_six report --out runs/ucf101_six
    python -m tools.ucf101_six publish --out runs/ucf101_six --data data/ucf101/UCF-101 --to data/models/mine

``run`` trains the tokenizer, rounds it to bfloat16, tokenizes, trains a further decoder of these tokens and
the generators, scores every order with every seed, times them in turn, and writes ``report.md`` and
``results.json``. It takes hours on a CPU; stop it at any moment, the same command goes on. ``report`` writes
the report of what is there so far; ``publish`` makes a folder to give away of a generator. Any set in
UCF-101's layout will do; the configs are those of six classes.
"""

from pathlib import Path

from jsonargparse import auto_cli

from tools.ucf101_six.chain import Chain, Sizes, run_chain
from tools.ucf101_six.picture import draw_quality_against_steps
from tools.ucf101_six.publish import publish_model
from tools.ucf101_six.report import write_report


def run(data: Path, out: Path, chain: Chain | None = None, sizes: Sizes | None = None) -> None:
    """Run the chain, or go on with it.

    Args:
        data: folder of class folders of videos, UCF-101's lists in or beside it.
        out: folder of everything that is made.
        chain: what is trained.
        sizes: how much is trained and measured.
    """
    run_chain(data, out, chain or Chain(), sizes or Sizes())
    report(out)


def report(out: Path) -> None:
    """Write the report of what a chain has measured so far, with a picture, and print it.

    Args:
        out: its folder.
    """
    draw_quality_against_steps(write_report(out), out / "quality-against-steps.svg")


def publish(out: Path, data: Path, to: Path, name: str = "any", limits: tuple[str, ...] = ()) -> None:
    """Make a folder to give away of a chain's generator: model, report, model card, a few real frames.

    Args:
        out: the chain's folder.
        data: the videos it was trained on.
        to: the folder to make, as a reader gives it to ``--model``.
        name: of the generator.
        limits: sentences for the model card on what the model cannot do.
    """
    publish_model(out, data, name, to, limits)


if __name__ == "__main__":
    auto_cli(
        {"run": run, "report": report, "publish": publish},
        as_positional=False,
        prog="python -m tools.ucf101_six",
    )
