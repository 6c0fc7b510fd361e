"""What a Lightning module trains."""

import lightning
from torch import nn

from parvideo.training.generator import GeneratorModule
from parvideo.training.tokenizer import TokenizerModule


def trained_network(module: lightning.LightningModule) -> nn.Module:
    """The network that a Lightning module trains and that a model folder holds.

    Raises:
        ValueError: if it is not one of parvideo's Lightning modules.
    """
    if isinstance(module, GeneratorModule):
        return module.transformer
    if isinstance(module, TokenizerModule):
        return module.tokenizer
    raise ValueError(f"{type(module).__name__} is neither a TokenizerModule nor a GeneratorModule")
