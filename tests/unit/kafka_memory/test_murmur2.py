"""The vectors are those of Kafka's own UtilsTest.testMurmur2."""

from __future__ import annotations

import pytest

from streamkit.kafka.murmur2 import murmur2, partition_for


@pytest.mark.parametrize(
    "data, signed",
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_the_java_client(data: bytes, signed: int):
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_the_sign_is_dropped_before_the_remainder():
    assert partition_for(b"foobar", 7) == (-790332482 & 0x7FFFFFFF) % 7
    assert {partition_for(b"%d" % i, 5) for i in range(100)} == set(range(5))
