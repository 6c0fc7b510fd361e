"""What training on CUDA wants set before it begins: TF32, cuDNN's choice of kernels, channels last."""

import lightning
import torch
from torch import nn

from parvideo.tokenizer import CausalVideoTokenizer


class CudaSettings(lightning.Callback):
    """Prepares a run on CUDA, and does nothing elsewhere; afterwards the process is as it was.

    What is left of float32 products under bf16-mixed, and all of them without, is multiplied in TF32. A
    tokenizer's clips all have one shape, so cuDNN tries its convolutions once and keeps the quickest, and its
    weights lie in channels_last_3d; `trainer.benchmark: false` keeps cuDNN from trying.

    Args:
        tf32: multiply float32 in TF32.
        benchmark: let cuDNN try its convolutions (of tokenizers alone).
    """

    def __init__(self, tf32: bool = True, benchmark: bool = True) -> None:
        self.tf32, self.benchmark = tf32, benchmark
        self._before: tuple[str, bool, bool] | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Set all of it, before the strategy wraps the network and plans its gradients' memory."""
        if stage != "fit" or trainer.strategy.root_device.type != "cuda":
            return
        self._before = _settings()
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self.tf32
        network = getattr(pl_module, "tokenizer", None)
        if isinstance(network, CausalVideoTokenizer):
            torch.backends.cudnn.benchmark = self.benchmark
            channels_last(network)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Set everything back."""
        del trainer, pl_module, stage
        if self._before is not None:
            matmul, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = self._before
            torch.set_float32_matmul_precision(matmul)
            self._before = None


def channels_last(network: nn.Module) -> None:
    """Lay a network's 3D convolutions out in channels_last_3d; names, shapes and values stay."""
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def _settings() -> tuple[str, bool, bool]:
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
    )
