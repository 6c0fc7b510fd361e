"""`parvideo push`: put a model folder on the Hugging Face Hub, with a card made from config and reports."""

import sys
from pathlib import Path


def push(
    folder: Path,
    name: str,
    /,
    report: list[Path] | None = None,
    data: str = "",
    license: str | None = None,
    config: Path | None = None,
    command: str = "",
    limit: list[str] | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> None:
    """Upload a model folder to the Hub in one commit, and print owner/name@commit.

    What goes up is the model's own files (safetensors and JSON) and its card, README.md. A README.md that
    lies in the model folder is the card; without one it is made of the folder, of reports, and of the
    config.yaml of the run. Needs the extra `hub` and, but for --dry-run, `hf auth login`.

    Args:
        folder: a model folder or run folder.
        name: owner/name on the Hub, or owner/name@branch of a branch that is there.
        report: what `parvideo evaluate` wrote of this very model; may be repeated.
        data: what it was trained on, with the limits of that licence: ucf101, ucf101-six, synthetic, or a
            sentence.
        license: of the weights, by the Hub's identifier, such as apache-2.0.
        config: YAML of the training run; the config.yaml of the run folder if not given.
        command: with which it was trained; `parvideo fit` if not given.
        limit: a sentence on what the model cannot do; may be repeated.
        private: make a new repository private.
        dry_run: print the card and push nothing.
    """
    from parvideo.evaluation.model_card import CardNotes
    from parvideo.jobs import push as job

    notes = CardNotes(data, license, tuple(report or ()), config, command, tuple(limit or ()))
    done = job.push(folder, name, notes, private, dry_run)
    if dry_run:
        print(done, end="")
        return
    print(done)
    print(f"pin it: --model {done}", file=sys.stderr)
