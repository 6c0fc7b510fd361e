"""The average is its formula; steps are seeded by their number alone; compiling changes no number."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from parvideo.order import OrderSpec
from parvideo.training.callbacks.misc import Compile, StepSeed, Throughput, WeightAverage, trained_network
from parvideo.training.data import TokenDataModule
from parvideo.training.generator import GeneratorModule

STEPS = 30


def make_module(tokens: Path) -> GeneratorModule:
    data = TokenDataModule(tokens, batch_size=4)
    data.setup("fit")
    module = GeneratorModule(order=OrderSpec((1, 2, 2)), dim=16, num_layers=1, num_heads=2)
    module.build(data.spec)
    return module


def trainer_at(step: int) -> Any:
    return SimpleNamespace(global_step=step, is_global_zero=True, global_rank=0, sanity_checking=False)


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


def test_a_steps_draws_depend_on_seed_batch_and_rank_alone() -> None:
    def draw(seed: int, batch: int, rank: int) -> float:
        progress = SimpleNamespace(total=SimpleNamespace(ready=batch))
        loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
        torch.rand(int(torch.randint(1, 9, ())))  # whatever was drawn before
        trainer: Any = SimpleNamespace(fit_loop=loop, global_rank=rank)
        module: Any = None
        StepSeed(seed).on_train_batch_start(trainer, module, None, 0)
        return float(torch.rand(()))

    places = [(seed, batch, rank) for seed in (0, 1) for batch in (0, 1, 2) for rank in (0, 1)]
    drawn = [draw(*place) for place in places]
    assert drawn == [draw(*place) for place in places]
    assert len(set(drawn)) == len(places)


def test_compiling_changes_no_name_and_no_number(tokens_folder: Path) -> None:
    module = make_module(tokens_folder).eval()
    tokens, labels = torch.randint(0, 9, (2, 2, 2, 2)), torch.tensor([0, 1])
    names = list(module.state_dict())
    before = module.losses(tokens, labels, module.orders[0])
    Compile("eager").on_fit_start(trainer_at(0), module)
    assert list(module.state_dict()) == names
    torch.testing.assert_close(module.losses(tokens, labels, module.orders[0]), before)
    with pytest.raises(ValueError, match="compile is 'fast'; torch.compile has the backends .*inductor"):
        Compile("fast")


def test_rates_are_of_training_alone(tokens_folder: Path) -> None:
    """Ten steps of 8 samples in 5 seconds, with a validation of 100 seconds between."""
    now = 0.0
    rates = Throughput(clock=lambda: now)
    logged: dict[str, float] = {}
    module: Any = SimpleNamespace(log=lambda name, value: logged.update({name: value}))
    trainer: Any = trainer_at(0)
    trainer.log_every_n_steps, trainer.world_size, trainer.accumulate_grad_batches = 10, 2, 1
    trainer.optimizers = [SimpleNamespace(param_groups=[{"lr": 0.25}])]
    rates.on_train_start(trainer, module)
    now = 2.0
    rates.on_validation_start(trainer, module)
    now = 102.0
    rates.on_validation_end(trainer, module)
    now, trainer.global_step = 105.0, 10
    batch = {"label": torch.zeros(4), "tokens": torch.zeros(4, 2, 3, 3)}
    rates.on_train_batch_end(trainer, module, None, batch, 0)
    assert logged == {
        "train/lr": 0.25,
        "train/samples_per_s": pytest.approx(10 * 8 / 5),
        "train/tokens_per_s": pytest.approx(10 * 8 * 18 / 5),
    }
    with pytest.raises(ValueError, match="peak_flops is 0"):
        Throughput(0)


def test_what_is_trained_is_known_or_refused(tokens_folder: Path) -> None:
    module = make_module(tokens_folder)
    assert trained_network(module) is module.transformer
    other: Any = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="Linear is neither"):
        trained_network(other)
