"""Counting exact decoding's calls, and the model of what they would cost on another machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from parvideo.pretrained.folder import load_orders, load_transformer
from parvideo.sampling import SamplingConfig
from tests.pipeline.cases import several_orders
from tools.measure.fixed_point_calls import Machine, Measured, measure, model_machine


def test_a_window_of_one_slot_makes_the_loops_calls_and_rows(tmp_path: Path) -> None:
    folder = several_orders(tmp_path)
    transformer, orders = load_transformer(folder).eval(), load_orders(folder)
    raster = next(order for order in orders if order.name == "1x1x1")
    found = measure(transformer.double(), raster, SamplingConfig(), 1, 2, 4)
    assert (found.calls, found.rows, found.differ) == (raster.steps, 1.0, 0)
    wide = measure(transformer, raster, SamplingConfig(), 4, 2, 4)
    assert wide.calls <= raster.steps
    assert wide.rows >= 1.0
    assert wide.differ == 0


def test_the_modelled_speed_up_is_that_of_calls_or_of_rows_at_the_extremes() -> None:
    found = Measured(calls=10.0, rows=5.0, differ=0, loop=1.0, windows=1.0)
    slow_memory = Machine(bandwidth=1e-6, peak=1e30, weight_bytes=1e9, row_flops=1e9)
    assert slow_memory.speedup(found, 80, 80) == pytest.approx(8.0)
    slow_arithmetic = replace(slow_memory, bandwidth=1e30, peak=1e-6)
    assert slow_arithmetic.speedup(found, 80, 80) == pytest.approx(1 / 5)
    between = Machine(1.0, 1.0, 1.0, 1.0).speedup(found, 80, 80)
    assert 1 / 5 < between < 8.0


def test_the_machine_reads_the_matrices_of_the_named_size(tmp_path: Path) -> None:
    order = load_orders(several_orders(tmp_path))[0]
    machine = model_machine("B", order, 9, 1.0, 1.0)
    block = 4 * 768**2 + 3 * 768 * 2048
    assert machine.weight_bytes == 2 * (12 * block + 9 * 768)
    assert machine.row_flops == pytest.approx(machine.weight_bytes, rel=0.01)  # two operations a weight
