"""Pushing: a model folder with its card to the Hub, in one commit."""

from pathlib import Path

from parvideo.evaluation.model_card import CardNotes, model_card
from parvideo.files import check_file
from parvideo.pretrained import hub
from parvideo.pretrained.folder import find_folder, model_files

CARD = "README.md"


def push(folder: Path, name: str, notes: CardNotes, private: bool = False, dry_run: bool = False) -> str:
    """Put a model on the Hub; `parvideo push --help` says what the arguments are.

    Args:
        folder: a model folder or a run folder, on this disk.
        name: owner/name, or owner/name@branch.
        notes: for the card, unless the model folder holds a README.md, which then is the card.
        private: of a repository that is made, whether only its owner sees it.
        dry_run: push nothing.

    Returns:
        owner/name@commit; of a dry run the card.

    Raises:
        FileNotFoundError: if there is no model folder, report or config.
        ValueError: if the name is none, the model does not load, a report is of another model, or there are
            notes where a card is written already.
        OSError: if the Hub cannot be asked, or refuses.
    """
    model = hub.parse(name)
    if model is None:
        raise ValueError(f"name is {name!r}; a model on the Hub is called owner/name, or owner/name@branch")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; what is pushed lies on this disk")
    home = find_folder(folder)
    files = model_files(home)
    written = home / CARD
    if written.is_file():
        if notes != CardNotes():
            raise ValueError(
                f"{written} is the card, and options for one are given too; leave them out, or delete it"
            )
        card = check_file(written).read_text(encoding="utf-8")
    else:
        card = model_card(folder, model.repo, notes)
    if dry_run:
        return card
    return hub.push({**files, CARD: card.encode()}, model, private, f"Model {model.repo} by parvideo push")
