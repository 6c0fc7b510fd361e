"""From Python a path may be text, and a tensor an array of numpy: the results are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.datasets import (
    ClipDataset,
    build_cache,
    flip_horizontally,
    load_videos,
    probe,
    read_frames,
    resize_and_crop,
    write_avi,
    write_contact_sheet,
    write_mp4,
)
from parvideo.metrics import (
    FrechetVideoDistance,
    SmallI3DExtractor,
    frechet_distance,
    kernel_distance,
    train_classifier,
)
from parvideo.metrics.extractors.small_i3d import SmallI3D
from parvideo.metrics.reconstruction import CodebookUsage, ReconstructionQuality
from parvideo.order import regions
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import as_array, as_tensor, check_clips, to_float, to_uint8
from parvideo.pretrained.folder import (
    load_class_names,
    load_tokenizer,
    load_transformer,
    save_generator,
    save_tokenizer,
)
from parvideo.sampling import extend, generate
from parvideo.synthetic import ShapesSettings, write_shapes_data
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.transformer import VideoTransformer

CLIPS = np.random.default_rng(0).integers(0, 256, (4, 9, 32, 32, 3), dtype=np.uint8)


def test_an_array_is_shared_where_it_can_be_and_copied_where_not() -> None:
    array = np.arange(6)
    assert as_tensor(array).data_ptr() == array.ctypes.data
    assert as_tensor(array[::-1]).tolist() == [5, 4, 3, 2, 1, 0]
    assert as_tensor(array.astype(">i8")).tolist() == array.tolist()
    array.flags.writeable = False
    assert as_tensor(array).data_ptr() != array.ctypes.data
    tensor = torch.zeros(2, requires_grad=True)
    assert as_tensor(tensor) is tensor
    assert as_array(tensor.bfloat16()).tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [[1, 2], "clip.npy", None, np.array([None]), np.array(["a"])])
def test_what_is_neither_is_told(wrong: object) -> None:
    with pytest.raises(ValueError, match="clips"):
        check_clips(wrong)  # type: ignore[arg-type]


def test_clips_of_numpy_are_clips() -> None:
    tensor = torch.from_numpy(CLIPS)
    assert torch.equal(to_float(CLIPS), to_float(tensor))
    assert torch.equal(to_uint8(to_float(CLIPS).numpy()), tensor)
    assert torch.equal(flip_horizontally(CLIPS), tensor.flip(-2))
    assert torch.equal(resize_and_crop(CLIPS[0], 16), resize_and_crop(tensor[0], 16))


def test_files_are_written_and_read_under_names_that_are_text(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write_mp4(f"{folder}/a.mp4", CLIPS[0], 8)
    write_avi(f"{folder}/a.avi", CLIPS[0], 8)
    write_contact_sheet(f"{folder}/a.webp", CLIPS, 8)
    for name in ("a.mp4", "a.avi", "a.webp"):
        assert probe(f"{folder}/{name}").frames == 9
        assert len(read_frames(f"{folder}/{name}", [0, 8])) == 2


def test_data_sets_lie_in_folders_whose_names_are_text(tmp_path: Path) -> None:
    write_shapes_data(f"{tmp_path}/toy", ShapesSettings(2, 2, 1, frames=12))
    videos = load_videos(f"{tmp_path}/toy")
    assert not build_cache(f"{tmp_path}/cache", videos, 32)
    plain = ClipDataset(videos, 9, 32, stride=1, policy="center")
    cached = ClipDataset(videos, 9, 32, stride=1, policy="center", cache=f"{tmp_path}/cache")
    assert torch.equal(plain[0]["clip"], cached[0]["clip"])


def test_metrics_take_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 6)), rng.normal(size=(30, 6))
    a, b = torch.from_numpy(real), torch.from_numpy(fake)
    assert frechet_distance(a, b) == frechet_distance(real, fake)
    assert kernel_distance(a, b) == kernel_distance(real, fake)
    arrays, tensors = FrechetVideoDistance(6), FrechetVideoDistance(6)
    for features, is_real in ((real, True), (fake, False)):
        ids = np.arange(len(features))
        arrays.update(features, is_real, ids, ids // 2)
        tensors.update(torch.from_numpy(features), is_real, torch.from_numpy(ids), torch.from_numpy(ids // 2))
    assert arrays.result() == tensors.result()
    extractor = SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=32)
    extractor.save(f"{tmp_path}/network")
    loaded = SmallI3DExtractor.load(f"{tmp_path}/network")
    assert torch.equal(loaded(CLIPS), extractor(torch.from_numpy(CLIPS)))
    assert train_classifier(CLIPS, np.arange(4) % 2, 2, steps=1, batch_size=2, width=1).dim == 4


def test_models_take_arrays_and_folders_whose_names_are_text(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(**PRESETS["tiny"]).eval()
    save_tokenizer(f"{tmp_path}/tokenizer", tokenizer)
    order = regions(tokenizer.latent_grid((9, 32, 32)), (1, 2, 2))
    transformer = VideoTransformer(
        order.grid,
        tokenizer.codebook_size,
        2,
        dim=16,
        num_layers=1,
        num_heads=2,
        num_transitions=order.num_transitions,
    )
    save_generator(f"{tmp_path}/model", transformer, ["a", "b"], f"{tmp_path}/tokenizer", [order])
    assert load_class_names(f"{tmp_path}/model") == ["a", "b"]
    transformer = load_transformer(f"{tmp_path}/model")
    tokenizer = load_tokenizer(f"{tmp_path}/model")
    with torch.inference_mode():
        floats = to_float(CLIPS)
        tokens = tokenizer.encode(floats.numpy())
        assert torch.equal(tokens, tokenizer.encode(floats))
        assert torch.equal(tokenizer.decode(tokens.numpy()), tokenizer.decode(tokens))
    assert torch.equal(order.unflatten(order.flatten(tokens.numpy()).numpy()), tokens)
    labels = np.arange(4) % 2
    made = generate(transformer, order, labels, prefix=tokens[:, :1].numpy())
    assert torch.equal(made, generate(transformer, order, torch.from_numpy(labels), prefix=tokens[:, :1]))
    assert extend(transformer, order, made.numpy(), labels, 1, 1).shape[1] == made.shape[1] + 1
    pipeline = VideoPipeline.from_pretrained(f"{tmp_path}/model")
    assert torch.equal(pipeline.generate_tokens(labels), pipeline.generate_tokens(torch.from_numpy(labels)))
    assert torch.equal(pipeline.decode(made.numpy()), pipeline.decode(made))
    first = CLIPS[:, :1]
    continued = pipeline.continue_clips(first, [0, 1, 0, 1])
    assert torch.equal(continued, pipeline.continue_clips(torch.from_numpy(first), [0, 1, 0, 1]))
    quality, usage = ReconstructionQuality(), CodebookUsage(tokenizer.codebook_size)
    quality.update(floats.numpy(), floats.numpy())
    usage.update(tokens.numpy())
    assert quality.compute()["ssim"] == pytest.approx(1)
    assert usage.compute()["counts"].sum() == tokens.numel()
