"""Byte strings behind each other: a sequence like a list of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamkit.record.joined import JoinedBytes


def joined(strings: list[bytes]) -> JoinedBytes:
    return JoinedBytes((bytearray(b"".join(strings)), bytearray(np.array(list(map(len, strings)), np.int32).tobytes())))


@given(st.lists(st.binary(max_size=5)), st.integers(-9, 9), st.integers(-9, 9))
def test_it_is_the_list(strings: list[bytes], start: int, stop: int) -> None:
    found = joined(strings)
    assert len(found) == len(strings)
    assert found == strings
    assert found == joined(strings)
    assert found != [*strings, b""]
    assert found != 5
    assert list(found) == list(found[:]) == strings
    assert found[start:stop] == strings[start:stop]
    assert [found[i] for i in range(len(strings))] == strings
    assert all(type(string) is bytes for string in found)
    assert repr(found) == f"JoinedBytes({strings!r})"
