"""One transformer trained over several orders: every order is trained, and the run goes on alike."""

from pathlib import Path

import lightning
import pytest
import torch
from safetensors.torch import load_file

from parvideo.order import GenerationOrder, OrderSpec
from parvideo.pretrained.folder import load_orders, load_transformer
from parvideo.training.cli import fit
from parvideo.training.data import TokenDataModule
from parvideo.training.generator import GeneratorModule
from parvideo.training.loggers import read_metrics
from parvideo.transformer import next_token_loss

MORE = '--model.more_orders=[{"regions": [1, 1, 1]}, {"regions": [1, 1, 2]}]'


def arguments(tokens: Path, out: Path, steps: int, *more: str) -> list[str]:
    return [
        *("--model", "parvideo.training.GeneratorModule"),
        *("--data", "parvideo.training.TokenDataModule"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *(f"--data.tokens={tokens}", "--data.batch_size=3", "--model.lr=0.01", MORE),
        *("--trainer.accelerator=cpu", "--trainer.devices=1", f"--trainer.max_steps={steps}"),
        *("--trainer.val_check_interval=4", "--trainer.log_every_n_steps=1", f"--out={out}"),
        "--checkpoint_every=3",
        *more,
    ]


@pytest.fixture(scope="module")
def run(tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    fit(arguments(tokens_folder, out, 8))
    return out


def test_the_validation_loss_of_each_order_is_that_of_the_model_in_it(run: Path, tokens_folder: Path) -> None:
    transformer = load_transformer(run / "model")
    data = TokenDataModule(tokens_folder)
    data.setup("fit")
    items = list(data.val_tokens or [])
    tokens = torch.stack([item["tokens"] for item in items])
    labels = torch.tensor([item["label"] for item in items])
    logged = read_metrics(run)
    for name, regions in {"loss": (1, 2, 2), "loss_1x1x1": (1, 1, 1), "loss_1x1x2": (1, 1, 2)}.items():
        order = OrderSpec(regions).build((2, 2, 2))
        ordered = order.flatten(tokens)
        with torch.inference_mode():
            logits = transformer(ordered, labels, transformer.layout(order))
        expected = next_token_loss(logits, ordered).mean()
        assert logged[f"val/{name}"][-1][1] == pytest.approx(float(expected), rel=1e-4)


def test_the_model_folder_names_the_orders(run: Path) -> None:
    expected = [OrderSpec(cut).build((2, 2, 2)) for cut in ((1, 2, 2), (1, 1, 1), (1, 1, 2))]
    assert load_orders(run) == expected
    assert [order.name for order in load_orders(run)] == ["1x2x2", "1x1x1", "1x1x2"]


def test_each_batch_is_trained_in_one_of_the_orders_and_all_come_up(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[GenerationOrder] = []
    losses = GeneratorModule.losses

    def note(
        self: GeneratorModule, tokens: torch.Tensor, labels: torch.Tensor, order: GenerationOrder
    ) -> torch.Tensor:
        if self.training:
            seen.append(order)
        return losses(self, tokens, labels, order)

    monkeypatch.setattr(GeneratorModule, "losses", note)
    fit(arguments(tokens_folder, tmp_path, 20))
    assert len(seen) == 20
    assert set(seen) == {OrderSpec(regions).build((2, 2, 2)) for regions in [(1, 2, 2), (1, 1, 1), (1, 1, 2)]}


WEIGHTED = '--model.order_weights={"1x2x2": 1, "1x1x1": 5, "1x1x2": 2}'


@pytest.mark.parametrize(
    "more",
    [(), (WEIGHTED, "--model.order_embedding=true", "--model.distillation=0.5", "--model.dropout=0.2")],
    ids=["plain", "weighted, told and distilled"],
)
def test_a_resumed_run_draws_the_same_orders(
    more: tuple[str, ...], tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same dropout: the teacher's pass takes no random numbers from the student's."""

    def stop(self: GeneratorModule, *args: object) -> None:
        if self.trainer.global_step == 5:
            raise RuntimeError("stopped")

    run, cut = tmp_path / "whole", tmp_path / "cut"
    fit(arguments(tokens_folder, run, 8, *more))
    with monkeypatch.context() as patched:
        patched.setattr(lightning.LightningModule, "on_train_batch_start", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            fit(arguments(tokens_folder, cut, 8, *more))
    fit(arguments(tokens_folder, cut, 8, *more))
    resumed, whole = (load_file(folder / "model" / "weights.safetensors") for folder in (cut, run))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_repeated_regions_are_refused() -> None:
    with pytest.raises(ValueError, match="more_orders repeats"):
        GeneratorModule(
            OrderSpec(), 16, 1, 2, more_orders=[OrderSpec((1, 2, 2)), OrderSpec(initial="parallel")]
        )
