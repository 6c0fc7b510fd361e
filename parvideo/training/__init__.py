"""Training with Lightning: what is trained, on which data, and what happens around the steps.

The names below are what a config's ``class_path`` says, such as ``parvideo.training.GeneratorModule``. Each
is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parvideo.training.adversary import Adversary
    from parvideo.training.callbacks.rfvd import ReconstructionFVD
    from parvideo.training.data import ClipDataModule, TokenDataModule
    from parvideo.training.generator import GeneratorModule
    from parvideo.training.tokenizer import TokenizerModule

__all__ = [
    "Adversary",
    "ClipDataModule",
    "GeneratorModule",
    "ReconstructionFVD",
    "TokenDataModule",
    "TokenizerModule",
]

_HOMES = {
    "Adversary": "adversary",
    "ClipDataModule": "data",
    "GeneratorModule": "generator",
    "ReconstructionFVD": "callbacks.rfvd",
    "TokenDataModule": "data",
    "TokenizerModule": "tokenizer",
}
_GONE = {
    "adversarial": "Adversary",
    "generator_module": "GeneratorModule",
    "rfvd": "ReconstructionFVD",
    "tokenizer_module": "TokenizerModule",
}
"""Files of earlier versions that configs named, and what they named in them."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Raises:
        AttributeError: if there is none; for a ``class_path`` of an earlier version, it names the new one.
    """
    if name in _GONE:
        raise AttributeError(
            f"there is no parvideo.training.{name} any more: write parvideo.training.{_GONE[name]}"
        )
    if name not in _HOMES:
        raise AttributeError(f"module 'parvideo.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"parvideo.training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
