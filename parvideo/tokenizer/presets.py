"""Presets: named constructor arguments of `CausalVideoTokenizer`."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # All layers work at the latent grid, and few channels allow many steps: at equal time on one core this
    # beat both strided convolutions in time after a patch in space, and wider versions of itself.
    "tiny": {
        "channels": 32,
        "channel_multipliers": [1],
        "num_res_blocks": 1,
        "time_strides": [],
        "space_strides": [],
        "patch_size": 4,
        "patch_frames": 4,
        "norm_groups": 8,
        "levels": [8, 5, 5, 5],
    },
    "base": {
        "channels": 64,
        "channel_multipliers": [1, 2, 2, 4],
        "num_res_blocks": 2,
        "time_strides": [1, 2, 2],
        "space_strides": [2, 2, 2],
    },
    # The encoder of "base", so that a decoder can be trained for its tokens; the decoder works at half the
    # resolution and less, in under a quarter of the multiplications (tests/tokenizer/test_presets.py).
    "light": {
        "channels": 64,
        "channel_multipliers": [1, 2, 2, 4],
        "num_res_blocks": 2,
        "time_strides": [1, 2, 2],
        "space_strides": [2, 2, 2],
        "decoder_levels": {
            "channels": 64,
            "channel_multipliers": [1, 2, 3],
            "num_res_blocks": 2,
            "time_strides": [2, 2],
            "space_strides": [2, 2],
            "patch_size": 2,
        },
    },
    "nbp": {
        "channels": 128,
        "channel_multipliers": [1, 2, 2, 4],
        "num_res_blocks": 4,
        "time_strides": [1, 2, 2],
        "space_strides": [2, 2, 2],
        "space_padding": "replicate",
    },
}
