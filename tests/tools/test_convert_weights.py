"""From two published files to images: convert, load, sample."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from parvideo.order import regions
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import load_orders, load_tokenizer, load_transformer
from parvideo.sampling import SamplingConfig
from parvideo.tokenizer import LlamaGenTokenizer
from parvideo.transformer import VideoTransformer

TOOL = Path(__file__).parents[2] / "tools" / "convert" / "llamagen.py"
CODES, CLASSES = 20, 3


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_weights", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path, VideoTransformer, LlamaGenTokenizer]:
    """Two small files as the projects' trainers write them, and the models whose weights they hold."""
    theirs = {
        "token_embedding": "tok_embeddings",
        "class_embedding": "cls_embedding.embedding_table",
        "transition_embedding": "spe_tok_embeddings.special_embeddings",
        "head": "output",
        "blocks.": "layers.",
        "attention.qkv": "attention.wqkv",
        "attention.out": "attention.wo",
        "ffn.gate": "feed_forward.w1",
        "ffn.up": "feed_forward.w3",
        "ffn.down": "feed_forward.w2",
    }
    shape = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_hidden": 24, "num_transitions": 3}
    model = VideoTransformer((1, 4, 4), CODES, CLASSES, special_positions="zero", **shape).eval()
    torch.nn.init.normal_(model.head.weight)
    state = {}
    for name, value in model.state_dict().items():
        for ours, other in theirs.items():
            name = name.replace(ours, other)
        state[name] = value
    tokenizer = LlamaGenTokenizer(CODES, 4, 32, (1, 1), num_res_blocks=1, latent_channels=8).eval()
    paths = tmp_path / "PAR-S-4x.pt", tmp_path / "vq_ds2_c2i.pt"
    torch.save({"model": state, "steps": 5}, paths[0])
    torch.save({"model": tokenizer.state_dict()}, paths[1])
    return *paths, model, tokenizer


def test_converted_files_generate_images(
    tool: ModuleType,
    published: tuple[Path, Path, VideoTransformer, LlamaGenTokenizer],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    transformer, tokenizer, model, vq = published
    out = tmp_path / "model"
    tool.main(str(transformer), str(tokenizer), str(out), grid=4, heads=2)
    assert "3 classes, grid (1, 4, 4), 7 steps an image" in capsys.readouterr().out
    for name, value in load_transformer(out).state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    for name, value in load_tokenizer(out).state_dict().items():
        assert torch.equal(value, vq.state_dict()[name])

    config = SamplingConfig(guidance_scale=1.5, top_k=10)
    images = VideoPipeline.from_pretrained(out).generate(["0", 2], num_per_class=2, seed=3, config=config)
    assert images.shape == (4, 1, 8, 8, 3)
    assert images.dtype == torch.uint8
    orders = [regions((1, 4, 4), (1, 2, 2))]
    assert load_orders(out) == orders
    parts = VideoPipeline(vq, model, ["0", "1", "2"], orders)
    own = parts.generate([0, 2], num_per_class=2, seed=3, config=config)
    assert torch.equal(images, own)
    assert not torch.equal(images[0], images[2])


def test_converting_twice_replaces_the_folder(
    tool: ModuleType, published: tuple[Path, Path, VideoTransformer, LlamaGenTokenizer], tmp_path: Path
) -> None:
    transformer, tokenizer, _, vq = published
    names = tmp_path / "classes.txt"
    out = tmp_path / "model"
    tool.main(str(transformer), str(tokenizer), str(out), grid=4, heads=2)
    with torch.no_grad():
        vq.decoder.conv_out.bias.fill_(0.5)
    torch.save({"model": vq.state_dict()}, tokenizer)
    names.write_text("crane\nmaillot\ncrane\n")  # twice, as in ImageNet
    tool.main(str(transformer), str(tokenizer), str(out), grid=4, heads=2, classes=str(names))
    pipeline = VideoPipeline.from_pretrained(out)
    assert pipeline.class_names == ["crane", "maillot", "crane"]
    assert torch.equal(pipeline.tokenizer.state_dict()["decoder.conv_out.bias"], torch.full((3,), 0.5))


def test_parts_that_do_not_belong_together_write_nothing(
    tool: ModuleType, published: tuple[Path, Path, VideoTransformer, LlamaGenTokenizer], tmp_path: Path
) -> None:
    transformer, tokenizer, _, vq = published
    out, names = tmp_path / "model", tmp_path / "classes.txt"
    names.write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"classes\.txt must hold 3 names, one a line, got 2 lines"):
        tool.main(str(transformer), str(tokenizer), str(out), grid=4, heads=2, classes=str(names))
    state = vq.state_dict()
    state["quantize.embedding.weight"] = state["quantize.embedding.weight"][1:]
    torch.save(state, tokenizer)
    with pytest.raises(ValueError, match=r"codebook_size is 20, the tokenizer's 19"):
        tool.main(str(transformer), str(tokenizer), str(out), grid=4, heads=2)
    with pytest.raises(ValueError, match="lacks 'tok_embeddings.weight'"):
        tool.main(str(tokenizer), str(tokenizer), str(out), grid=4, heads=2)
    assert not out.exists()


def test_the_command_line_reports_errors_in_a_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pt")
    result = subprocess.run(
        [sys.executable, TOOL, "--transformer", missing, "--tokenizer", missing, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == f"convert_weights: No such file or directory: {missing}\n"
