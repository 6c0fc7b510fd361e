"""Protocols differ by their hash, and every field counts."""

from dataclasses import fields, replace

import pytest

from parvideo.evaluation.protocols import LARP_10K, PROTOCOLS, Protocol, get_protocol
from parvideo.metrics.frechet import FrechetFormula

OTHER = {
    "split": "test",
    "clip_policy": "center",
    "clip_seed": 7,
    "frames": 17,
    "stride": 2,
    "fps": 8.0,
    "size": 64,
    "source_resize": "tf1",
    "source_crop": "squash",
    "quantization": "truncate",
    "network_resize": "tf1",
    "bn_eps": 1e-5,
    "tap": "pooled",
    "label_policy": "uniform",
    "real_count": 5,
    "fake_count": 5,
    "formula": FrechetFormula("exact", 0),
    "repeats": 3,
    "window": 17,
}


def test_the_named_ones_are_distinct_and_the_default_is_larp() -> None:
    published = {"larp-10k", "magvit-10k", "stylegan-v-2048", "tats-2048", "videogpt-256", "nbp-10k"}
    assert set(PROTOCOLS) == {*published, "ucf101-six-64"}
    assert len({protocol.hash for protocol in PROTOCOLS.values()}) == 7
    assert get_protocol("larp-10k") is LARP_10K
    with pytest.raises(ValueError, match="larp-10k"):
        get_protocol("fvd")


def test_hashes_stay_what_reports_hold() -> None:
    assert {name: protocol.hash[:12] for name, protocol in PROTOCOLS.items()} == {
        "larp-10k": "a6bd942dc7cb",
        "magvit-10k": "9016bd779c78",
        "stylegan-v-2048": "c889c69be717",
        "tats-2048": "8e2b9e3389f6",
        "videogpt-256": "00675b5f5c0d",
        "nbp-10k": "e0c1753ec822",
        "ucf101-six-64": "2edc59a55874",
    }


def test_every_field_but_the_name_is_hashed() -> None:
    assert {*LARP_10K.to_dict(), "window"} == {"name", *OTHER}
    assert len(LARP_10K.to_dict()) == len(fields(Protocol)) + 2  # one is a format of four, another not there
    for name, value in OTHER.items():
        changed = LARP_10K.customized(**{name: value})
        assert changed.hash != LARP_10K.hash, name
        assert changed.name == "custom"
    assert replace(LARP_10K, name="another").hash == LARP_10K.hash


def test_customizing_with_nothing_or_the_same_changes_nothing() -> None:
    assert LARP_10K.customized(frames=None, size=128) == LARP_10K


def test_stride_and_rate_replace_each_other() -> None:
    at_rate = LARP_10K.customized(fps=8.0)
    assert (at_rate.stride, at_rate.fps) == (None, 8.0)
    assert at_rate.customized(stride=1).hash == LARP_10K.hash


def test_hashes_written_into_reports_and_references_stay() -> None:
    hashes = {name: protocol.hash[:12] for name, protocol in PROTOCOLS.items()}
    assert hashes == {
        "larp-10k": "a6bd942dc7cb",
        "magvit-10k": "9016bd779c78",
        "stylegan-v-2048": "c889c69be717",
        "tats-2048": "8e2b9e3389f6",
        "videogpt-256": "00675b5f5c0d",
        "nbp-10k": "e0c1753ec822",
        "ucf101-six-64": "2edc59a55874",
    }


def test_nbp_scores_the_first_16_of_17_frames() -> None:
    protocol = get_protocol("nbp-10k")
    assert (protocol.clip_frames, protocol.frames, protocol.fps) == (17, 16, 8.0)
    assert protocol.customized(frames=17).clip_frames == 17
    with pytest.raises(ValueError, match="window is 16"):
        protocol.customized(window=16)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_round_trip(protocol: Protocol) -> None:
    assert Protocol.from_dict(protocol.to_dict()) == protocol


def test_refuses_incomplete_or_unknown_fields() -> None:
    value = LARP_10K.to_dict()
    with pytest.raises(ValueError, match="not a protocol"):
        Protocol.from_dict({**value, "blur": 1})
    del value["formula"]
    with pytest.raises(ValueError, match="formula"):
        Protocol.from_dict(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", "val"),
        ("frames", 8),
        ("real_count", 1),
        ("fake_count", 1),
        ("bn_eps", 0.0),
        ("repeats", 0),
        ("stride", 0),
        ("fps", -1.0),
        ("tap", "conv"),
    ],
)
def test_refuses_wrong_values(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        LARP_10K.customized(**{name: value})
