"""The autoregressive transformer over tokens: rotary positions, attention, cache, blocks, the model."""
