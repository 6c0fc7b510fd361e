"""The generator's training: what it learns from, what it decays, what it reports."""

from pathlib import Path

import pytest
import torch

from parvideo.order import OrderSpec
from parvideo.training.data import TokenDataModule
from parvideo.training.generator import GeneratorModule


def make(tokens: Path, **settings: object) -> GeneratorModule:
    data = TokenDataModule(tokens, batch_size=4)
    data.setup("fit")
    arguments = {"order": OrderSpec((1, 2, 2)), "dim": 16, "num_layers": 1, "num_heads": 2, **settings}
    module = GeneratorModule(**arguments)  # type: ignore[arg-type]
    module.build(data.spec)
    return module


def test_transformer_takes_its_form_from_the_tokens(tokens_folder: Path) -> None:
    module = make(tokens_folder)
    transformer = module.transformer
    assert transformer.grid == (2, 2, 2)
    assert [order.steps for order in module.orders] == [4 + 2 - 1]
    assert transformer.config["num_transitions"] == 3
    assert (transformer.codebook_size, transformer.num_classes) == (9, 2)


def test_what_turns_its_queries_is_the_transformers(tokens_folder: Path) -> None:
    assert make(tokens_folder).transformer.config["query_positions"] == "source"
    module = make(tokens_folder, query_positions="target")
    assert module.transformer.config["query_positions"] == "target"
    tokens = torch.zeros(2, 2, 2, 2, dtype=torch.int64)
    losses = module.losses(tokens, torch.tensor([0, 1]), module.orders[0])
    losses.sum().backward()
    assert losses.shape == (2, 8)
    assert all(parameter.grad is not None for parameter in module.transformer.blocks.parameters())


def test_weight_decay_is_on_matrices_alone(tokens_folder: Path) -> None:
    module = make(tokens_folder, weight_decay=0.3, max_steps=10)
    groups = module.configure_optimizers()["optimizer"].param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] == 0.3 for p in group["params"]}
    plain = {id(p) for group in groups if group["weight_decay"] == 0.0 for p in group["params"]}
    for parameter in module.transformer.parameters():
        assert id(parameter) in (decayed if parameter.ndim >= 2 else plain)
    assert not decayed & plain


def test_a_hidden_label_changes_the_loss_as_the_null_class(tokens_folder: Path, monkeypatch) -> None:
    seen: list[torch.Tensor] = []
    for part in (0.0, 1.0):
        module = make(tokens_folder, label_dropout=part, dropout=0.0, attention_dropout=0.0)
        monkeypatch.setattr(module, "log", lambda *args, **kwargs: None)
        losses = module.losses
        monkeypatch.setattr(
            module,
            "losses",
            lambda tokens, labels, order, f=losses: (seen.append(labels), f(tokens, labels, order))[1],
        )
        batch = {
            "tokens": torch.zeros(3, 2, 2, 2, dtype=torch.int64),
            "label": torch.tensor([0, 1, 1]),
            "id": [],
        }
        module.training_step(batch, 0)  # type: ignore[arg-type]
    assert seen[0].tolist() == [0, 1, 1]
    assert seen[1].tolist() == [2, 2, 2]


def test_losses_are_those_of_the_order_asked_for(tokens_folder: Path) -> None:
    """Each as of a module of that order alone with the same weights, in whatever sequence they are asked."""
    specs = [OrderSpec((1, 2, 2)), OrderSpec(), OrderSpec((2, 1, 1), attention="causal")]
    quiet = {"dropout": 0.0, "attention_dropout": 0.0}
    module = make(tokens_folder, more_orders=specs[1:], **quiet)
    tokens, labels = torch.randint(0, 9, (2, 2, 2, 2)), torch.tensor([0, 1])
    assert module.transformer.config["num_transitions"] == 3
    for place in (0, 1, 2, 1, 0):
        alone = make(tokens_folder, order=specs[place], target_position_embedding=True, **quiet)
        state = module.transformer.state_dict()
        rows = alone.transformer.config["num_transitions"]
        state["transition_embedding.weight"] = state["transition_embedding.weight"][:rows]
        alone.transformer.load_state_dict(state)
        order = alone.orders[0]
        assert module.orders[place] is order
        expected = alone.losses(tokens, labels, order)
        torch.testing.assert_close(module.losses(tokens, labels, order), expected)


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"lr": 0.0}, "lr"), ({"label_dropout": 1.5}, "label_dropout"), ({"warmup_steps": -1}, "warmup_steps")],
)
def test_wrong_settings_are_named(settings: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        GeneratorModule(OrderSpec(), 16, 1, 2, **settings)  # type: ignore[arg-type]


def test_orders_are_told_apart_by_their_names() -> None:
    raster, dyadic = OrderSpec(), OrderSpec(grouping="dyadic", most=4)
    alone = OrderSpec((1, 2, 2), one_by_one=True)
    module = GeneratorModule(raster, 16, 1, 2, more_orders=[dyadic, alone, OrderSpec((1, 2, 2))])
    assert module.order_specs == (raster, dyadic, alone, OrderSpec((1, 2, 2)))
    with pytest.raises(ValueError, match="more_orders repeats an order"):
        GeneratorModule(raster, 16, 1, 2, more_orders=[dyadic, dyadic])
    with pytest.raises(ValueError, match="more_orders repeats regions"):
        GeneratorModule(raster, 16, 1, 2, more_orders=[OrderSpec(grouping="adjacent")])


def test_tokens_of_another_tokenizer_are_refused(tokens_folder: Path, tmp_path: Path) -> None:
    import shutil

    from parvideo.pretrained.folder import load_tokenizer, save_tokenizer

    shutil.copytree(tokens_folder, tmp_path / "tokens")
    tokenizer = load_tokenizer(tokens_folder / "tokenizer")
    with torch.no_grad():
        next(tokenizer.parameters()).add_(1.0)
    save_tokenizer(tmp_path / "tokens" / "tokenizer", tokenizer)
    with pytest.raises(ValueError, match="tokenizer"):
        TokenDataModule(tmp_path / "tokens").setup("fit")


def test_factors_train_on_the_likelihood_of_the_token(tokens_folder: Path) -> None:
    module = make(tokens_folder, codebook_factors=[3, 3], dropout=0.0, attention_dropout=0.0)
    tokens, labels = torch.randint(0, 9, (2, 2, 2, 2)), torch.tensor([0, 1])
    with torch.no_grad():
        module.transformer.head.weight.zero_()
    losses = module.losses(tokens, labels, module.orders[0])
    assert torch.allclose(losses, torch.tensor(9.0).log())
