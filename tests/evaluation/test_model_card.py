"""A card says what files say: the folder, reports of this very model, the run's config."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from parvideo.evaluation.model_card import DATA, CardNotes, model_card
from parvideo.evaluation.report import write_report
from parvideo.pretrained.folder import find_folder, fingerprint
from parvideo.sampling import SamplingConfig
from tests.evaluation.test_report import report


def front_matter(card: str) -> dict[str, Any]:
    parsed = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(parsed, dict)
    return parsed


def scored(path: Path, model: Path, shift: float = 0.5, **sampling: Any) -> Path:
    config = json.loads(json.dumps(SamplingConfig(**sampling).to_dict()))
    write_report(
        path, report(shift, generated={"generator": fingerprint(model), "sampling": config, "hash": "g"})
    )
    return path


def test_without_reports_it_says_what_the_folder_holds_and_that_nothing_was_measured(
    generator_folder: Path,
) -> None:
    card = model_card(generator_folder, "someone/tiny")
    assert front_matter(card)["library_name"] == "parvideo"
    assert "license" not in front_matter(card)
    assert "model-index" not in front_matter(card)
    for text in (
        "# tiny",
        "5 frames of 16x16 pixels, 12.5 frames a second",
        "3x4x4 = 48 of 9 codes",
        "Archery, Bowling, Surfing",
        "1x2x2 (15 steps)",
        fingerprint(generator_folder),
        "parvideo sample --model someone/tiny --class Archery",
        "from_pretrained('someone/tiny')",
        "does not record which videos",
        "Nothing was measured",
        "No config came with",
    ):
        assert text in card


def test_figures_are_those_of_the_reports_and_the_command_that_of_the_lowest(
    tmp_path: Path, generator_folder: Path
) -> None:
    plain = scored(tmp_path / "a.json", generator_folder, shift=0.9)
    guided = scored(tmp_path / "b.json", generator_folder, shift=0.1, guidance_scale=2.5, top_k=3)
    values = [json.loads(path.read_text())["fvd"] for path in (plain, guided)]
    notes = CardNotes(data="synthetic", license="apache-2.0", reports=[plain, guided], limits=["It is tiny."])
    card = model_card(generator_folder, "someone/tiny", notes)
    for value in values:
        assert f"| FVD | {value:.3g}" in card or f"| FVD | {value:.2f}" in card
    assert "--top-k 3 --guidance-scale 2.5" in card
    assert "config=SamplingConfig(top_k=3, guidance_scale=2.5)" in card
    assert "| 1x2x2, top k 3, guidance scale 2.5 |" in card
    assert "compare with none that is published" in card
    assert "- It is tiny." in card
    assert DATA["synthetic"] in card
    matter = front_matter(card)
    assert matter["license"] == "apache-2.0"
    metrics = matter["model-index"][0]["results"][0]["metrics"]
    assert [metric["value"] for metric in metrics] == pytest.approx(values, abs=1e-4)


def test_a_report_of_another_model_is_refused(
    tmp_path: Path, generator_folder: Path, tokenizer_folder: Path
) -> None:
    other = scored(tmp_path / "a.json", tokenizer_folder)
    with pytest.raises(ValueError, match="a.json is a report of another model"):
        model_card(generator_folder, "x", CardNotes(reports=[other]))
    write_report(tmp_path / "b.json", report())
    with pytest.raises(ValueError, match="b.json does not say which model"):
        model_card(generator_folder, "x", CardNotes(reports=[tmp_path / "b.json"]))


def test_saved_clips_are_known_by_the_record_that_sample_wrote(
    tmp_path: Path, generator_folder: Path
) -> None:
    record = {"model": fingerprint(generator_folder), "regions": [1, 2, 2], "sampling": {"top_p": 0.9}}
    write_report(tmp_path / "a.json", report(generated={"sample": record, "hash": "g"}))
    card = model_card(generator_folder, "x", CardNotes(reports=[tmp_path / "a.json"]))
    assert "| 1x2x2, top p 0.9 | FVD |" in card
    assert "--top-p 0.9 --order 1x2x2" in card


def test_a_tokenizer_has_a_card_too(tmp_path: Path, tokenizer_folder: Path) -> None:
    made = {"fingerprint": fingerprint(tokenizer_folder), "hash": "g"}
    write_report(tmp_path / "r.json", report(paired=False, generated=made) | {"metric": "rFVD"})
    card = model_card(tokenizer_folder, "someone/tok", CardNotes(reports=[tmp_path / "r.json"]))
    assert "| reconstructions | rFVD |" in card
    assert "parvideo tokenize --tokenizer someone/tok" in card
    assert "classes" not in card.split("## Data")[0]


def test_the_run_s_config_is_shown_without_the_folders_of_who_ran_it(
    tmp_path: Path, generator_folder: Path
) -> None:
    config = {
        "model": {
            "class_path": "parvideo.training.GeneratorModule",
            "init_args": {"dim": 8, "codebook_factors": None},
        },
        "data": {"init_args": {"tokens": "/home/somebody/secret/tokens"}},
        "trainer": {"max_steps": 7, "logger": None},
        "out": "/home/somebody/runs",
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    card = model_card(generator_folder, "x", CardNotes(config=path))
    assert "max_steps: 7" in card
    assert ".../tokens" in card
    assert "somebody" not in card
    assert "codebook_factors" not in card
    path.write_text("- 1")
    with pytest.raises(ValueError, match="names no model"):
        model_card(generator_folder, "x", CardNotes(config=path))


def test_the_hub_s_own_reader_understands_the_front_matter(tmp_path: Path, generator_folder: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    path = scored(tmp_path / "a.json", find_folder(generator_folder))
    card = model_card(generator_folder, "someone/tiny", CardNotes(data="ucf101", reports=[path]))
    results = hub.ModelCard(card).data.eval_results
    assert [result.metric_type for result in results] == ["fvd"]
    assert results[0].dataset_type == "ucf101"
