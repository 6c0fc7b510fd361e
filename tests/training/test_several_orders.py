"""Which order a batch is in, and what the fast orders learn from 1x."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parvideo.order import OrderSpec
from parvideo.training.generator import GeneratorModule
from parvideo.training.several_orders import as_teacher, check_teacher, check_weights, draw_order
from parvideo.transformer import next_token_loss
from parvideo.transformer.factorization import token_divergence
from tests.training.test_generator import make

SPECS = [OrderSpec((1, 2, 2)), OrderSpec(), OrderSpec(grouping="dyadic", most=4)]
ORDERS = [spec.build((2, 2, 2)) for spec in SPECS]
QUIET = {"dropout": 0.0, "attention_dropout": 0.0}


@given(st.lists(st.floats(0.5, 8.0), min_size=3, max_size=3))
@settings(max_examples=10)
def test_orders_come_up_in_proportion_to_their_weights(weights: list[float]) -> None:
    draws = 4000
    seen = Counter(draw_order(ORDERS, weights, number).name for number in range(draws))
    for order, weight in zip(ORDERS, weights, strict=True):
        expected = weight / sum(weights)
        assert seen[order.name] / draws == pytest.approx(expected, abs=5 * (expected / draws) ** 0.5)


@given(number=st.integers(0, 1 << 40), weighted=st.booleans())
@settings(max_examples=30)
def test_a_batch_is_in_the_same_order_whoever_asks(number: int, weighted: bool) -> None:
    weights = [1.0, 3.0, 2.0] if weighted else None
    torch.manual_seed(number)
    first = draw_order(ORDERS, weights, number)
    torch.rand(3)
    assert draw_order(ORDERS, weights, number) is first


def test_weights_are_by_the_orders_names() -> None:
    assert check_weights(SPECS, {"dyadic-4": 1, "1x1x1": 3, "1x2x2": 2}) == [2, 3, 1]
    assert check_weights(SPECS, None) is None
    for weights in ({"1x1x1": 1.0}, {"1x2x2": 1.0, "1x1x1": 1.0, "dyadic-4": 1.0, "4x": 1.0}):
        with pytest.raises(ValueError, match=r"the orders are 1x2x2, 1x1x1, dyadic-4, and each needs"):
            check_weights(SPECS, weights)
    for weight in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="order_weights gives 1x1x1 .*must be a positive number"):
            check_weights(SPECS, {"dyadic-4": 1, "1x1x1": weight, "1x2x2": 2})


def test_the_teacher_is_1x() -> None:
    assert check_teacher(SPECS, 0.5) == 1
    assert check_teacher(SPECS, 0.0) is None
    for specs in ([SPECS[0], SPECS[2]], [SPECS[1]]):
        with pytest.raises(ValueError, match="so 1x and at least one other must be among"):
            check_teacher(specs, 0.5)
    with pytest.raises(ValueError, match="weight of 0 or more, got -1"):
        check_teacher(SPECS, -1.0)


def taught(tokens_folder: Path, **changes: object) -> tuple[GeneratorModule, torch.Tensor, torch.Tensor]:
    module = make(tokens_folder, order=SPECS[0], more_orders=SPECS[1:], **{**QUIET, **changes})
    for parameter in module.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module, torch.randint(0, 9, (3, 2, 2, 2)), torch.tensor([0, 1, 2])


def test_divergence_is_from_1x_at_the_same_places(tokens_folder: Path) -> None:
    module, tokens, labels = taught(tokens_folder, distillation=1.0)
    raster = ORDERS[1]

    def log_probabilities(place: int) -> torch.Tensor:
        """By raster index of the token they are of, ``[B, N, V]``."""
        order = module.orders[place]
        logits = module.transformer(order.flatten(tokens), labels, module.transformer.layout(order))
        return logits.log_softmax(-1)[:, order.inverse]

    theirs = log_probabilities(1)
    for place in (0, 2):
        order = module.orders[place]
        losses, divergences = module.distilled_losses(tokens, labels, order)
        torch.testing.assert_close(losses, module.losses(tokens, labels, order))
        expected = (theirs.exp() * (theirs - log_probabilities(place))).sum(-1)
        torch.testing.assert_close(divergences[:, order.inverse], expected, rtol=1e-4, atol=1e-5)
        assert (divergences > -1e-6).all()
        assert divergences.mean() > 0.01
    _, itself = module.distilled_losses(tokens, labels, raster)
    torch.testing.assert_close(itself, torch.zeros_like(itself), rtol=0, atol=1e-5)


def test_digits_diverge_as_the_tokens_that_they_are() -> None:
    """The digits of a token are independent, so their divergences sum to that of the token."""
    teacher, ours = torch.randn(2, 3, 2, 7).unbind()
    joint = [
        (part[..., :3, None].log_softmax(-2) + part[..., None, 3:].log_softmax(-1)).flatten(-2)
        for part in (teacher, ours)
    ]
    expected = token_divergence(*joint)
    torch.testing.assert_close(token_divergence(teacher, ours, (3, 4)), expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_nothing_flows_into_the_teacher(tokens_folder: Path, precision: torch.dtype) -> None:
    """The gradient is that of a divergence from constants, under autocast, too."""
    module, tokens, labels = taught(tokens_folder, distillation=1.0)
    order, raster, transformer = module.orders[0], module.orders[1], module.transformer

    def gradients(divergence: torch.Tensor) -> list[torch.Tensor]:
        transformer.zero_grad()
        divergence.mean().backward()
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in transformer.parameters()]

    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        _, divergences = module.distilled_losses(tokens, labels, order)
    found = gradients(divergences)
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        with torch.no_grad():
            theirs = transformer(raster.flatten(tokens), labels, transformer.layout(raster))
        theirs = theirs[:, raster.inverse][:, order.permutation].clone()
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        ours = transformer(order.flatten(tokens), labels, transformer.layout(order))
        expected = gradients(token_divergence(theirs, ours))
    assert sum(bool(gradient.abs().sum() > 0) for gradient in found) >= len(found) - 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_teacher_has_no_dropout_and_takes_no_random_numbers(tokens_folder: Path) -> None:
    module, tokens, labels = taught(tokens_folder, distillation=1.0, dropout=0.5)
    transformer, raster = module.transformer.train(), module.orders[1]
    state = torch.get_rng_state()
    with as_teacher(transformer):
        first, second = (
            transformer(raster.flatten(tokens), labels, transformer.layout(raster)) for _ in range(2)
        )
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in transformer.modules())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_step_adds_the_weighted_divergence_in_every_order_but_1x(
    tokens_folder: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, tokens, labels = taught(tokens_folder, distillation=0.7, label_dropout=0.0)
    logged: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(module, "_drawn_order", lambda: module.orders[place])
    loss = module.training_step({"tokens": tokens, "label": labels, "id": []}, 0)
    cross_entropy = module.losses(tokens, labels, module.orders[place]).mean()
    torch.testing.assert_close(logged["train/loss"], cross_entropy)  # comparable with a run without a teacher
    if place == 1:
        assert set(logged) == {"train/loss"}
        torch.testing.assert_close(loss, cross_entropy)
    else:
        torch.testing.assert_close(loss, cross_entropy + 0.7 * logged["train/divergence"])


def test_the_order_embedding_is_an_option(tokens_folder: Path) -> None:
    told = make(tokens_folder, order=SPECS[0], more_orders=SPECS[1:], order_embedding=True)
    assert told.transformer.config["order_names"] == ["1x2x2", "1x1x1", "dyadic-4"]
    plain = make(tokens_folder, order=SPECS[0], more_orders=SPECS[1:])
    assert "order_names" not in plain.transformer.config
    tokens, labels = torch.randint(0, 9, (3, 2, 2, 2)), torch.tensor([0, 1, 1])
    for order in told.orders:
        ordered = order.flatten(tokens)
        logits = told.transformer(ordered, labels, told.transformer.layout(order))
        next_token_loss(logits, ordered).mean().backward()
    assert told.transformer.order_embedding is not None
    gradient = told.transformer.order_embedding.weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).all()
