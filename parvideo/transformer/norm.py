"""The norm of the transformer: RMSNorm in the precision of its weight."""

from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """PyTorch's RMSNorm, which under autocast meets bfloat16 inputs with a float32 weight.

    It then leaves its fused kernel with a warning; here the input takes the weight's precision first. Where
    the two are alike, nothing is different.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[..., dim]`` -> ``[..., dim]`` in the weight's dtype."""
        return super().forward(x.to(self.weight.dtype))
