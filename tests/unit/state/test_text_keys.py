"""Text keys in a table against a dict: the same slots in the same order, whatever the texts are and however they come."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.state import text_keys
from streamkit.state.footprint import footprint
from streamkit.state.key_index import ObjectKeys
from streamkit.state.key_numbers import KeyNumbers
from streamkit.state.text_keys import LONGEST, Texts, TextTable

# much alike, of all lengths about those of a word, with what the words are made of: zeros and bytes 0xFF at the end
alike = st.text(st.sampled_from("a\0ÿ\x7f"), max_size=18)
texts = st.one_of(
    alike, st.text(st.characters(), max_size=30), st.sampled_from(["", "a", "a\0", "ä", "\ud800", "𐀀", "\ud800\udc00"])
)
COUNT = 16_384
MANY = [f"customer-{number}" for number in range(COUNT)]


@given(st.lists(st.lists(texts, max_size=40), max_size=6), st.lists(texts, max_size=40))
def test_slots_are_those_of_a_dict(batches: list[list[str]], asked: list[str]) -> None:
    table, plain = ObjectKeys(), dict[str, int]()
    with patch("streamkit.state.key_index.MANY_TEXTS", 0):
        for batch in batches:
            slots = table.slots(batch)
            assert slots.tolist() == [plain.setdefault(key, len(plain)) for key in batch]
            assert table.keys_at(slots) == batch
    assert isinstance(table._texts, TextTable) or not batches
    assert table.keys() == list(plain)
    assert table.find(asked).tolist() == [plain.get(key, -1) for key in asked]
    assert len(table) == len(plain)


def test_texts_that_differ_in_words_of_zeros_only() -> None:
    """Behind the end of a text its words are 0, too: those of a text of many zeros were taken for its end."""
    zeros = ["a" * 8 + "\0" * count + last for count in (7, 8, 9, 16) for last in ("", "b")]
    others = [text.replace("\0", "c") for text in zeros]
    with patch.object(Texts, "hashes", lambda texts, _: np.zeros(len(texts), np.uint64)):
        keys = grown_from([*others, *zeros])
        assert keys.find([*zeros, *others]).tolist() == [*range(8, 16), *range(8)]
        assert grown_from(others).find(zeros).tolist() == [-1] * 8


def grown_from(texts: list[str]) -> ObjectKeys:
    keys = ObjectKeys()
    with patch("streamkit.state.key_index.MANY_TEXTS", 0):
        keys.slots(texts)
    return keys


def test_texts_with_one_hash_are_told_apart() -> None:
    """A hash says where to look, not that a text is there."""
    with patch.object(Texts, "hashes", lambda texts, _: np.zeros(len(texts), np.uint64)):
        table = grown_from([])
        assert table.slots(MANY[:300] + MANY[100:200]).tolist() == [*range(300), *range(100, 200)]
        assert table.find(["customer-", *MANY[298:302], "customer-1\0"]).tolist() == [-1, 298, 299, -1, -1, -1]
        assert table.keys() == MANY[:300]


def grown() -> ObjectKeys:
    keys = ObjectKeys()
    for start in range(0, len(MANY), 1_000):
        keys.slots(MANY[start : start + 1_000])
    assert isinstance(keys._texts, TextTable)
    return keys


@pytest.mark.parametrize("other", [None, 1.0, b"x", "é" * (LONGEST // 2 + 1), ("a", True)], ids=repr)
def test_what_is_no_short_text_is_a_key_beside_many_texts(other: Any) -> None:
    keys = grown()
    assert keys.find([other, "customer-7", other]).tolist() == [-1, 7, -1]
    assert keys.slots(["customer-7", other, "new"]).tolist() == [7, COUNT, COUNT + 1]
    assert keys.find([other, "customer-7", "newer"]).tolist() == [COUNT, 7, -1]
    assert keys.keys() == [*MANY, other, "new"]
    assert keys.keys_at(np.array([COUNT, 2])) == [other, "customer-2"]
    assert keys.slots(["newer"]).tolist() == [COUNT + 2]


def test_the_longest_text_that_is_taken() -> None:
    keys, longest = grown(), "é" * (LONGEST // 2) + "x"
    assert keys.slots([longest, "", longest]).tolist() == [COUNT, COUNT + 1, COUNT]
    assert keys.keys_at(np.array([COUNT])) == [longest]
    assert isinstance(keys._texts, TextTable)


def test_a_str_of_another_class_is_found_as_the_text_that_it_equals() -> None:
    class Name(str):
        __slots__ = ()

    keys = grown()
    assert keys.find([Name("customer-3")]).tolist() == [3]
    assert keys.slots([Name("customer-3"), Name("no")]).tolist() == [3, COUNT]


def test_keys_that_are_taken_back_leave_no_trace() -> None:
    keys = grown()
    keys.slots([f"refused-{number}" for number in range(50_000)])
    keys.truncate(10_000)
    assert keys.find(["refused-0", "customer-9999", "customer-10000"]).tolist() == [-1, 9_999, -1]
    assert keys.slots(["customer-12000", "b", "customer-5"]).tolist() == [10_000, 10_001, 5]
    assert keys.keys() == [*MANY[:10_000], "customer-12000", "b"]


def test_an_arena_of_more_words_than_four_bytes_can_count() -> None:
    with patch.object(text_keys, "_INT32", 20_000):
        keys = grown()
        assert keys.keys_at(np.array([5, 16_000])) == ["customer-5", "customer-16000"]
        assert keys.find(MANY).tolist() == list(range(COUNT))
        assert keys.slots(["b"]).tolist() == [COUNT]


def test_many_texts_take_a_third_of_what_a_dict_takes() -> None:
    keys, plain = ObjectKeys(), dict[str, int]()
    column = [f"customer-{number:06}" for number in range(100_000)]
    for start in range(0, len(column), 10_000):
        keys.slots(column[start : start + 10_000])
    plain.update({key: number for number, key in enumerate(column)})
    assert footprint(keys) < 50 * len(column) < 0.4 * footprint(plain)


def test_numbers_of_many_texts_are_theirs_until_they_are_forgotten() -> None:
    numbers = KeyNumbers()
    assert numbers.of(MANY).tolist() == list(range(COUNT))
    assert numbers.of(["b", *MANY[:2]]).tolist() == [COUNT, 0, 1]
    assert numbers.keys(np.array([COUNT, 3])) == ["b", "customer-3"]
    assert numbers.keep(np.array([COUNT, 3, 3])).tolist() == [1, 0, 0]
    assert numbers.keys(np.array([1, 0])) == ["b", "customer-3"]
