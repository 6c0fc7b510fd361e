"""Classes as they are asked for: names are names whatever they look like, indices are ints."""

import unicodedata
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from parvideo.pipeline.class_names import find_class, is_index
from tests.pipeline.cases import NAMES, make

LISTS = st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True)


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@pytest.mark.parametrize(
    ("name", "label"),
    [("Archery", 0), ("archery", 0), (np.int64(2), 2), (torch.tensor(1), 1), (3, 3), ("BASKETBALLDUNK", 3)],
)
def test_a_class_by_name_or_index(name: Any, label: int) -> None:
    assert find_class(NAMES, name) == make().resolve_class(name) == label


def test_no_class_follows_the_last() -> None:
    assert find_class(NAMES, None) == make().resolve_class(None) == 4


@given(names=LISTS, data=st.data())
def test_every_name_is_found_as_it_stands(names: list[str], data: st.DataObject) -> None:
    """And in another case where only one name reads so; where several do, it is refused by their indices."""
    label = data.draw(st.integers(0, len(names) - 1))
    assert find_class(names, names[label]) == label
    shouted = names[label].swapcase()
    assume(shouted not in names)
    same = [k for k, name in enumerate(names) if folded(name) == folded(shouted)]
    assume(same)  # swapping the case is not always undone by folding it
    if len(same) == 1:
        assert find_class(names, shouted) == same[0]
    else:
        with pytest.raises(ValueError, match=rf"index {same[0]}\).*index {same[1]}\)"):
            find_class(names, shouted)


@given(names=LISTS, asked=st.text(max_size=8))
def test_what_is_no_name_is_no_class(names: list[str], asked: str) -> None:
    """However it looks: nothing is guessed, and no word is taken for an index."""
    assume(folded(asked) not in map(folded, names))
    with pytest.raises(ValueError, match="there is no class"):
        find_class(names, asked)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Archry", "did you mean Archery"),
        ("2", "an index is given as an int"),
        ("²", "there are 4"),
        (4, "0 to 3"),
        (1.0, "give a name"),
        (True, "give a name"),
        (-1, "0 to 3"),
        ("xyzzy", "Archery, ApplyEyeMakeup"),
    ],
)
def test_an_unknown_class_suggests_near_names(name: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_class(NAMES, name)


def test_long_lists_are_shown_in_part() -> None:
    with pytest.raises(ValueError, match=r"there are 101: class 0, .*, class 7, \.\.\.$"):
        find_class([f"class {k}" for k in range(101)], "?")


def test_accents_may_be_typed_in_either_way() -> None:
    whole, apart = "Caf\u00e9", "Cafe\u0301"  # as Linux and Windows type it, and as macOS names a folder
    assert find_class(["Tea", apart], whole) == find_class(["Tea", whole], apart) == 1
    assert find_class(["Tea", apart], "CAF\u00c9") == 1
    assert [find_class([whole, apart], name) for name in (whole, apart)] == [0, 1]
    with pytest.raises(ValueError, match="there is no class"):
        find_class(["Tea", apart], "Cafe")


def test_names_of_digits_are_names() -> None:
    names = ["1", "10", "2", "02"]
    assert [find_class(names, name) for name in names] == [0, 1, 2, 3]
    assert [find_class(names, index) for index in range(4)] == [0, 1, 2, 3]
    for missing in ("0", "3", "²", "1.0", "-1", "9" * 5000):
        with pytest.raises(ValueError, match="there is no class"):
            find_class(names, missing)
    for word in ("null", "~", "[x]", "#tag", "a,b", "1e3", "true", ""):
        assert find_class(["x", word, "y"], word) == 1


def test_names_that_are_alike_are_told_apart_or_refused() -> None:
    assert find_class(["Run", "run"], "run") == 1
    with pytest.raises(ValueError, match=r"any of Run \(index 0\) and run \(index 1\)"):
        find_class(["Run", "run"], "RUN")
    with pytest.raises(ValueError, match="any of a .* and a .*; ask for one by its index"):
        find_class(["a", "b", "a"], "a")


@given(st.integers(0, 10**17))
def test_an_index_is_written_in_one_way(index: int) -> None:
    assert is_index(str(index))
    for word in (f"0{index}", f"-{index}", f"+{index}", f" {index}", f"{index}.0", f"{index}\n"):
        assert not is_index(word)


@pytest.mark.parametrize("word", ["", "²", "٣", "1e3", "0x1", "1_000"])
def test_words_that_only_look_like_an_index_are_none(word: str) -> None:
    assert not is_index(word)
