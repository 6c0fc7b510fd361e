"""What training takes from Lightning and torch beside their public interfaces is there and works as we think.

If this fails after an upgrade: read parvideo/training/private_apis.py against the new version, run
tests/training and tests/slow, and name the new version in `CHECKED_WITH`.
"""

import ast
import inspect
import pydoc
import re
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from parvideo.training import private_apis
from parvideo.training.private_apis import CHECKED_WITH, SUBCLASSED, set_last_rates, storage_key

PACKAGE = Path(inspect.getfile(private_apis)).parents[1]


@pytest.mark.parametrize("package", CHECKED_WITH)
def test_they_were_checked_with_the_versions_that_are_pinned(package: str) -> None:
    pinned = (PACKAGE.parent / "constraints.txt").read_text()
    version = re.search(rf"^{package}==(\d+\.\d+)", pinned, flags=re.MULTILINE)
    assert version is not None
    assert version[1] == CHECKED_WITH[package]


def test_private_members_of_other_packages_are_used_there_alone() -> None:
    """Of one's own instance (`self._x`) a class of ours may; those it inherits are listed."""
    found = {
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for path in sorted((PACKAGE / "training").rglob("*.py"))
        if path.name != "private_apis.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }
    assert found == set()


@pytest.mark.parametrize(("owner", "member"), SUBCLASSED.items())
def test_what_our_subclasses_use_is_there(owner: str, member: str) -> None:
    inherited = pydoc.locate(owner)
    assert isinstance(inherited, type)
    assert member in inspect.getsource(inherited)


def test_a_schedule_says_the_rates_that_it_is_told() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    set_last_rates(schedule, [0.25])
    assert schedule.get_last_lr() == [0.25]


def test_tensors_of_one_storage_share_its_key() -> None:
    one, two = (torch.zeros(4, device="meta") for _ in range(2))
    assert storage_key(one) == storage_key(one[1:])
    assert storage_key(one) != storage_key(two)
