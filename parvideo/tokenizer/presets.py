"""Presets: named constructor arguments of `CausalVideoTokenizer`."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "channels": 32,
        "channel_multipliers": [1, 2, 2],
        "num_res_blocks": 1,
        "time_strides": [2, 2],
        "space_strides": [1, 1],
        "patch_size": 4,
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
    "nbp": {
        "channels": 128,
        "channel_multipliers": [1, 2, 2, 4],
        "num_res_blocks": 4,
        "time_strides": [1, 2, 2],
        "space_strides": [2, 2, 2],
        "space_padding": "replicate",
    },
}
