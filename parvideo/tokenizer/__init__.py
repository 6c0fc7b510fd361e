"""Between clips and tokens: causal 3D convolutions, quantizers, losses, discriminators."""
