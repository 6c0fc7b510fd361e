"""Configs of before are read as what they meant, and what is no config is named."""

from pathlib import Path

import pytest
import yaml

from parvideo.training.configs import read_configs

OLD = {
    "model": {"class_path": "X", "init_args": {"factors": [3, 3], "target_positions": True, "dim": 8}},
    "costs": {"factors": [512, 125]},
    "data": {"factors": 1},
}
NEW = {
    "model": {
        "class_path": "X",
        "init_args": {"codebook_factors": [3, 3], "target_position_embedding": True, "dim": 8},
    },
    "costs": {"codebook_factors": [512, 125]},
    "data": {"factors": 1},
}


def write(path: Path, content: object) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_settings_have_their_new_names_and_a_new_config_stays_a_path(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.yaml", OLD), write(tmp_path / "new.yaml", NEW)
    first, text, second, path = read_configs([f"--config={old}", "--config", new])
    assert (first, second, path) == ("--config", "--config", new)
    assert yaml.safe_load(text) == NEW
    assert read_configs(["--model.factors=[2,2]", "--model.init_args.target_positions", "true"]) == [
        "--model.codebook_factors=[2,2]",
        "--model.init_args.target_position_embedding",
        "true",
    ]
    assert read_configs(["--data.factors=1", "--out", "x"]) == ["--data.factors=1", "--out", "x"]


def test_what_is_no_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match=r"bad.yaml is no YAML: .* in line"):
        read_configs(["--config", str(tmp_path / "bad.yaml")])
    with pytest.raises(FileNotFoundError, match="none.yaml"):
        read_configs(["--config", str(tmp_path / "none.yaml")])
