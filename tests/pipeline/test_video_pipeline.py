"""From class names to clips."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.datasets.clip_format import ClipFormat
from parvideo.jobs.generation_options import GenerationOptions
from parvideo.order import OrderSpec, regions
from parvideo.pipeline import decoding, engines
from parvideo.pipeline.video_pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import (
    find_folder,
    fingerprint,
    load_extra,
)
from parvideo.sampling import SamplingConfig, extend, fixed_point, generate
from parvideo.tokenizer import CausalVideoTokenizer, LlamaGenTokenizer
from parvideo.transformer import VideoTransformer
from tests.pipeline.cases import CUTS, LABELS, NAMES, make, several_orders


def test_the_models_device_chooses_what_generates(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model that is elsewhere (here on meta, which has no values) and labels on the CPU."""
    pipeline, seen = make(), []

    def plain(model: VideoTransformer, order: object, labels: torch.Tensor, *more: Any) -> torch.Tensor:
        seen.append((labels.device.type, more[2] is not None and more[2].device.type))
        return torch.zeros(len(labels), 2, 2, 2, dtype=torch.int64)

    pipeline.transformer.to("meta")
    monkeypatch.setattr(engines, "generate", plain)
    pipeline.generate_tokens(torch.tensor([0, 1, 2]), batch_size=2)
    pipeline.extend_tokens([0, 1], torch.zeros(2, 1, 2, 2, dtype=torch.int64))
    assert seen == [("meta", False), ("meta", False), ("meta", "meta")]


def test_without_a_class_the_null_label_generates() -> None:
    pipeline = make()
    for parameter in pipeline.transformer.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    free = pipeline.generate([None], num_per_class=2, seed=1)
    tokens = pipeline.generate_tokens([4, 4], seed=1)
    assert torch.equal(free, pipeline.decode(tokens))
    assert not torch.equal(tokens, pipeline.generate_tokens([0, 0], seed=1))


@pytest.mark.parametrize("regions", [[1, 2, 2], (1, 2, 2), np.array([1, 2, 2]), torch.tensor([1, 2, 2])])
def test_regions_of_any_type_are_chosen(regions: Any) -> None:
    pipeline = make()
    assert pipeline.find_order(regions=regions) is OrderSpec((1, 2, 2)).build((2, 2, 2))


@pytest.mark.parametrize("regions", ["1,2,2", [1, 2.5, 2], 4, [[1], 2, 2], [1, 2]])
def test_what_is_no_regions_is_refused(regions: Any) -> None:
    with pytest.raises(ValueError, match="regions is"):
        make().find_order(regions=regions)


def test_clips_come_class_by_class_as_uint8() -> None:
    pipeline = make()
    clips = pipeline.generate(["Archery", 2], num_per_class=2, seed=1)
    assert clips.dtype == torch.uint8
    assert clips.shape == (4, 3, 4, 4, 3)
    assert torch.equal(clips, pipeline.generate([0, "Basketball"], num_per_class=2, seed=1))
    assert not torch.equal(clips, pipeline.generate([0, "Basketball"], num_per_class=2, seed=2))


def test_tokens_do_not_depend_on_the_batch_size() -> None:
    pipeline = make()
    labels = torch.tensor([0, 1, 2, 3, 0])
    whole = pipeline.generate_tokens(labels, seed=4, batch_size=5)
    assert torch.equal(whole, pipeline.generate_tokens(labels, seed=4, batch_size=2))
    part = pipeline.generate_tokens(labels[3:], seed=4, indices=[3, 4])
    assert torch.equal(whole[3:], part)


def test_progress_counts_every_step_of_every_batch() -> None:
    seen: list[tuple[int, int]] = []
    make().generate(
        [0], num_per_class=3, batch_size=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 10) for done in range(1, 11)]  # 2 batches of 4 + 2 - 1 steps


def test_the_seed_takes_the_place_of_the_configs() -> None:
    pipeline = make()
    labels = torch.tensor([0, 1])
    first = pipeline.generate_tokens(labels, seed=3, config=SamplingConfig(seed=8))
    assert torch.equal(first, pipeline.generate_tokens(labels, seed=3))


def test_parts_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="codebook_size is 12, the tokenizer's 9"):
        make(codebook=12)
    with pytest.raises(ValueError, match="4 names, the transformer 3 classes"):
        make(classes=3)


@pytest.mark.parametrize(
    ("classes", "number", "message"),
    [("Archery", 1, "a list"), ([], 1, "a list"), ([0], 0, "num_per_class"), ([0], 1.5, "num_per_class")],
)
def test_wrong_requests_are_named(classes: list[int], number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().generate(classes, num_per_class=number)


def test_clips_go_on_from_their_first_frames() -> None:
    pipeline = make()
    tokenizer = pipeline.tokenizer
    clips = torch.randint(0, 256, (2, 1, 4, 4, 3), dtype=torch.uint8)
    longer = pipeline.continue_clips(clips, ["Archery", 3], seed=1)
    assert longer.shape == (2, 3, 4, 4, 3)
    # A causal decoder makes the first frame of the first latent frame alone.
    first = to_uint8(tokenizer.decode(tokenizer.encode(to_float(clips))))
    assert torch.equal(longer[:, :1], first)
    longest = pipeline.continue_clips(clips, ["Archery", 3], latent_frames=5, seed=1)
    assert longest.shape == (2, 9, 4, 4, 3)
    assert torch.equal(longest[:, :3], longer)


def test_what_cannot_go_on_is_refused() -> None:
    clips = torch.zeros(2, 3, 4, 4, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="2 clips and 1 classes"):
        make().continue_clips(clips, ["Archery"])
    with pytest.raises(ValueError, match="more than the 2 that the clips have, got 2"):
        make().continue_clips(clips, [0, 0])
    with pytest.raises(ValueError, match="uint8"):
        make().continue_clips(clips.float(), [0, 0])


def test_a_batch_of_any_length_does_not_depend_on_what_goes_with_it() -> None:
    pipeline = make()
    labels, prefix = torch.tensor([0, 1, 2]), torch.randint(0, 9, (3, 1, 2, 2))
    for beginning, latent_frames in ((None, 2), (None, 1), (None, 4), (prefix, 2), (prefix, 5)):
        whole = pipeline.extend_tokens(labels, beginning, latent_frames, 1, 7)
        assert whole.shape == (3, latent_frames, 2, 2)
        if beginning is not None:
            assert torch.equal(whole[:, :1], prefix)
        elif latent_frames >= 2:
            assert torch.equal(whole[:, :2], pipeline.generate_tokens(labels, 7))
        part = None if beginning is None else beginning[1:]
        assert torch.equal(
            whole[1:], pipeline.extend_tokens(labels[1:], part, latent_frames, 1, 7, indices=[1, 2])
        )


def test_progress_counts_every_window() -> None:
    seen: list[tuple[int, int]] = []
    prefix = torch.randint(0, 9, (1, 1, 2, 2))
    make().extend_tokens(
        torch.tensor([0]), prefix, 5, progress=lambda done, total: seen.append((done, total))
    )
    # Four windows of five steps; in each the first frame is given, which takes all steps but the last.
    assert seen == [(5 * window, 20) for window in (1, 2, 3, 4)]


@pytest.mark.parametrize(("pixels", "at_once"), [(1 << 20, 16 * 6), (400, 2 * 6), (200, 6), (60, 2), (1, 1)])
def test_decoding_works_on_few_pixels_at_a_time(
    pixels: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips of 6 latent frames, of 24 pixels each."""
    pipeline = make()
    tokens = torch.randint(0, 9, (5, 6, 2, 2))
    whole = pipeline.decode(tokens)
    assert whole.shape == (5, 11, 4, 4, 3)
    seen, decode_codes = [], CausalVideoTokenizer.decode_codes

    def counting(tokenizer: CausalVideoTokenizer, codes: torch.Tensor, *cache: Any) -> torch.Tensor:
        seen.append(codes.shape[0] * codes.shape[2])
        return decode_codes(tokenizer, codes, *cache)

    monkeypatch.setattr(decoding, "DECODE_PIXELS", {"cpu": pixels})
    monkeypatch.setattr(CausalVideoTokenizer, "decode_codes", counting)
    assert (pipeline.decode(tokens).int() - whole.int()).abs().max() <= 1
    assert sum(seen) == 30
    assert max(seen) == min(at_once, 30)


def test_the_clip_of_a_grid_is_what_the_tokenizer_encodes_to_it() -> None:
    assert CausalVideoTokenizer.from_preset("tiny").clip_shape((5, 4, 6)) == (17, 16, 24)
    assert CausalVideoTokenizer.from_preset("base").clip_shape((1, 4, 4)) == (1, 32, 32)
    image = LlamaGenTokenizer(16, 4, 32, (1, 1), 1, 32)
    assert image.clip_shape((1, 3, 3)) == (1, 6, 6)
    with pytest.raises(ValueError, match="encodes no clip to the grid"):
        image.clip_shape((2, 3, 3))


def test_a_trained_order_is_chosen_by_its_name_or_regions(tmp_path: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path))
    made = {}
    for cut in (*CUTS, *reversed(CUTS)):
        order = pipeline.find_order(regions=cut)
        assert order is regions((2, 2, 2), cut)
        assert pipeline.find_order("x".join(map(str, cut))) is order
        made[cut] = pipeline.generate_tokens(LABELS, order=order)
        assert torch.equal(made[cut], pipeline.generate_tokens(LABELS, order=order.name))
        assert torch.equal(made[cut], generate(pipeline.transformer, order, LABELS, SamplingConfig()))
        clips = pipeline.decode(made[cut])
        for chosen in ({"order": order}, {"order": order.name}, {"regions": cut}, {"regions": list(cut)}):
            assert torch.equal(pipeline.generate([0, 1, 2], **chosen), clips)
    # What was generated before changes nothing: the main order is the first.
    assert pipeline.find_order() is pipeline.orders[0] is regions((2, 2, 2), CUTS[0])
    assert torch.equal(pipeline.generate_tokens(LABELS), made[CUTS[0]])
    assert not torch.equal(made[1, 1, 1], made[1, 2, 2])


def test_clips_go_on_in_the_order_asked_for(tmp_path: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path))
    prefix, made = torch.randint(0, 9, (3, 1, 2, 2)), []
    for order in pipeline.orders:
        tokens = pipeline.extend_tokens(LABELS, prefix, 4, 1, 3, order=order.name)
        config = SamplingConfig(seed=3)
        start = generate(pipeline.transformer, order, LABELS, config, prefix=prefix)
        assert torch.equal(tokens, extend(pipeline.transformer, order, start, LABELS, 2, 1, config))
        made.append(tokens)
    assert torch.equal(pipeline.extend_tokens(LABELS, prefix, 4, 1, 3), made[0])
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"regions": (1, 2, 1)}, r"regions is \(1, 2, 1\); this model was trained in 1x2x2, 1x1x1, 2x2x2"),
        ({"order": "dyadic-4"}, "order is 'dyadic-4'; this model was trained in 1x2x2, 1x1x1, 2x2x2"),
        ({"order": "1x2x2", "regions": (1, 2, 2)}, "give one of the two"),
        ({"regions": (1, 2.0, 2)}, "give three whole numbers"),
        ({"regions": 4}, "give three whole numbers"),
    ],
)
def test_an_order_it_was_not_trained_in_is_refused(
    tmp_path: Path, chosen: dict[str, Any], message: str
) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path))
    with pytest.raises(ValueError, match=message):
        pipeline.generate(["Archery"], **chosen)


def test_an_order_without_regions_is_chosen_by_its_name_alone(tmp_path: Path) -> None:
    alone = OrderSpec((1, 2, 2), one_by_one=True)
    folder = several_orders(tmp_path, OrderSpec(grouping="dyadic", most=4), alone)
    pipeline = VideoPipeline.from_pretrained(folder)
    for cut in ((1, 1, 1), (1, 2, 2)):
        with pytest.raises(ValueError, match="this model was trained in dyadic-4, 1x2x2-one-by-one"):
            pipeline.find_order(regions=cut)
    assert pipeline.find_order("1x2x2-one-by-one") is alone.build((2, 2, 2))
    assert pipeline.find_order().name == "dyadic-4"
    assert pipeline.generate_tokens(LABELS, order="1x2x2-one-by-one").shape == (3, 2, 2, 2)


def test_one_engine_serves_all_orders(tmp_path: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path))
    pipeline.generate_tokens(LABELS)
    engine = pipeline._steps.made
    assert engine is not None
    for order in pipeline.orders:
        pipeline.generate_tokens(LABELS, order=order)
        assert pipeline._steps.made is engine


def test_a_window_and_the_noise_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = VideoPipeline.from_pretrained(several_orders(tmp_path))
    labels = torch.tensor([0, 1, 2])
    asked = []
    original = fixed_point.generate
    monkeypatch.setattr(
        fixed_point,
        "generate",
        lambda *given, **named: (asked.append(given[-1]), original(*given, **named))[1],
    )
    for noise in ("uniform", "gumbel"):
        config = SamplingConfig(guidance_scale=2.0, noise=noise)  # type: ignore[arg-type]
        made = []
        for window in (None, 5):
            options = GenerationOptions(window=window, noise=noise, regions="1,1,1")  # type: ignore[arg-type]
            order = options.prepare(pipeline)
            seen: list[tuple[int, int]] = []
            more = {"latent_frames": 5, "config": config, "progress": lambda *done, to=seen: to.append(done)}
            made.append(pipeline.extend_tokens(labels, order=order, **more))  # type: ignore[arg-type]
            assert seen[-1] == (4 * 8, 4 * 8)
        assert torch.equal(*made)
    assert asked == [5] * 8
    assert GenerationOptions(noise="gumbel").config() == SamplingConfig(noise="gumbel")
    with pytest.raises(ValueError, match="window"):
        GenerationOptions(window=0)


def test_orders_that_do_not_fit_the_transformer_are_refused() -> None:
    tokenizer, raster = make().tokenizer, regions((2, 2, 2), (1, 1, 1))
    transformer = VideoTransformer(raster.grid, 9, 4, dim=16, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="transition tokens"):
        VideoPipeline(tokenizer, transformer, NAMES, [raster, regions((2, 2, 2), (1, 2, 2))])
    with pytest.raises(ValueError, match=r"this model is for grid \(2, 2, 2\), the order for \(1, 2, 2\)"):
        VideoPipeline(tokenizer, transformer, NAMES, [regions((1, 2, 2), (1, 1, 1))])
    with pytest.raises(ValueError, match="at least one order"):
        VideoPipeline(tokenizer, transformer, NAMES, [])


def test_a_saved_pipeline_is_the_same_again(tmp_path: Path) -> None:
    first = several_orders(tmp_path)
    pipeline = VideoPipeline.from_pretrained(first)
    pipeline.save_pretrained(tmp_path / "again")
    again = VideoPipeline.from_pretrained(tmp_path / "again")
    for order in pipeline.orders:
        made = pipeline.generate_tokens(LABELS, seed=3, order=order.name)
        assert torch.equal(again.generate_tokens(LABELS, seed=3, order=order.name), made)
        assert torch.equal(again.decode(made), pipeline.decode(made))
    assert (again.class_names, again.orders, again.clip_format) == (
        pipeline.class_names,
        pipeline.orders,
        pipeline.clip_format,
    )
    for part in ("", "tokenizer"):
        assert load_extra(tmp_path / "again" / part) == load_extra(find_folder(first) / part)
        assert fingerprint(tmp_path / "again" / part) == fingerprint(find_folder(first) / part)
    with pytest.raises(FileExistsError, match="again holds a model already"):
        make().save_pretrained(tmp_path / "again")


def test_a_pipeline_made_by_hand_can_be_saved(tmp_path: Path) -> None:
    pipeline = make()
    pipeline.clip_format = ClipFormat(17, 64, 12.5)
    pipeline.save_pretrained(tmp_path / "new")
    again = VideoPipeline.from_pretrained(tmp_path / "new")
    assert (again.fps, again.clip_format) == (12.5, pipeline.clip_format)
    assert torch.equal(again.generate(["Archery"], 2), pipeline.generate(["Archery"], 2))


def test_a_pipeline_moves_as_a_whole_or_not_at_all() -> None:
    pipeline = make()
    made = pipeline.generate_tokens([0, 1])
    assert pipeline.to("cpu") is pipeline
    assert pipeline._steps.made is None  # its weights would be those of the old device
    assert torch.equal(pipeline.generate_tokens([0, 1]), made)
    assert pipeline.to("meta").transformer.head.weight.device.type == "meta"
    assert {part.device.type for part in pipeline.tokenizer.parameters()} == {"meta"}
    bound = make()
    bound._steps.engine = "cpu"
    with pytest.raises(ValueError, match="engine='cpu' computes on a cpu device"):
        bound.to("meta")
    assert bound.transformer.head.weight.device.type == "cpu"
