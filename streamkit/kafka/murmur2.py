"""Which partition a key belongs to, as Kafka's Java client decides it (murmur2 of the serialised key)."""

from __future__ import annotations

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """32-bit murmur2 as in `org.apache.kafka.common.utils.Utils.murmur2`, unsigned.

    >>> hex(murmur2(b"foobar"))
    '0xd0e47bbe'
    """
    length = len(data)
    whole = length & ~3
    h = _SEED ^ length
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:  # one to three bytes are left
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of `key` in a topic of `partitions` partitions.

    >>> partition_for(b"A", 3)
    1
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions
