"""The average is its formula, and it is what is validated."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from parvideo.training.callbacks.ema import WeightAverage
from parvideo.training.generator import GeneratorModule
from tests.training.modules import make_module, trainer_at

STEPS = 30


def walk(module: GeneratorModule) -> None:
    """One step of an optimizer that goes anywhere."""
    with torch.no_grad():
        for parameter in module.transformer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def weights(module: GeneratorModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.transformer.state_dict().items()}


def test_the_average_is_its_formula(tokens_folder: Path) -> None:
    module, average = make_module(tokens_folder), WeightAverage(0.7)
    average.on_train_start(trainer_at(0), module)
    history = [weights(module)]
    for step in range(1, STEPS + 1):
        walk(module)
        history.append(weights(module))
        for _ in range(2):  # a batch that made no step of its own (accumulation) counts for nothing
            average.on_train_batch_end(trainer_at(step), module, None, None, 0)
    decays = [min(0.7, (1 + step) / (10 + step)) for step in range(1, STEPS + 1)]
    assert decays[0] < 0.7 == decays[-1]
    for name in history[0]:
        expected = history[0][name].double()
        for decay, value in zip(decays, history[1:], strict=True):
            expected = decay * expected + (1 - decay) * value[name].double()
        torch.testing.assert_close(average.average[name].double(), expected, rtol=1e-5, atol=1e-6)


def test_a_resumed_average_is_the_uninterrupted_one(tokens_folder: Path) -> None:
    averages = []
    for stops in ((), (4, 11)):
        torch.manual_seed(3)
        module, average = make_module(tokens_folder), WeightAverage(0.7)
        average.on_train_start(trainer_at(0), module)
        for step in range(1, 16):
            walk(module)
            average.on_train_batch_end(trainer_at(step), module, None, None, 0)
            if step in stops:
                kept = {name: value.clone() for name, value in average.state_dict()["average"].items()}
                average = WeightAverage(0.7)
                average.load_state_dict({"average": kept})
                average.on_train_start(trainer_at(step), module)
        averages.append(average.average)
    for name, value in averages[0].items():
        assert torch.equal(value, averages[1][name]), name


def test_small_changes_of_half_precision_weights_are_not_lost(tokens_folder: Path) -> None:
    """In bfloat16 a step of 0.1 % rounds away: the average would never leave its start."""
    module, average = make_module(tokens_folder), WeightAverage(0.999)
    with torch.no_grad():
        for parameter in module.transformer.parameters():
            parameter.fill_(1.0)
    module.transformer.bfloat16()
    average.on_train_start(trainer_at(10**6), module)
    with torch.no_grad():
        for parameter in module.transformer.parameters():
            parameter.fill_(2.0)
    for step in range(1, 101):
        average.on_train_batch_end(trainer_at(10**6 + step), module, None, None, 0)
    for value in average.average.values():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, torch.full_like(value, 2 - 0.999**100), rtol=1e-4, atol=0)
    assert all(value.dtype == torch.bfloat16 for value in module.transformer.state_dict().values())


def test_the_average_is_validated_and_the_weights_come_back(tokens_folder: Path) -> None:
    module, average = make_module(tokens_folder), WeightAverage(0.9)
    own = weights(module)
    average.on_validation_start(trainer_at(0), module)  # the check before training
    average.on_validation_end(trainer_at(0), module)
    assert all(torch.equal(value, own[name]) for name, value in weights(module).items())
    average.on_train_start(trainer_at(0), module)
    walk(module)
    average.on_train_batch_end(trainer_at(1), module, None, None, 0)
    trained = weights(module)
    average.on_validation_start(trainer_at(1), module)
    assert all(torch.equal(value, average.average[name]) for name, value in weights(module).items())
    average.on_validation_end(trainer_at(1), module)
    assert all(torch.equal(value, trained[name]) for name, value in weights(module).items())
    walk(module)  # and what trains on does not move what is kept
    assert any(not torch.equal(value, average.average[name]) for name, value in weights(module).items())


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 1.5])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"ema_decay is {decay}"):
        WeightAverage(decay)
