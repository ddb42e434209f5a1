"""The verdict of a soak: it finds a leak, however small beside the heap, and takes no backlog for one."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable

import pytest

from benchmarks.heap import Heaps, anonymous_mb
from benchmarks.soak import FREE_MB, SAMPLE_EVERY_S, Sample, Soak

FILES_MB = 42.0


def soak(minutes: float, in_use: Callable[[float], float], free: Callable[[float], float], *, seed: int = 1) -> Soak:
    """With these MB by minutes, and batches in hand of up to 15 MB, taken from what is free; in one sample of four, none."""
    chance = random.Random(seed)
    seen = Soak(rate=100_000, minutes=minutes)
    for number in range(int(60 * minutes / SAMPLE_EVERY_S)):
        at = number * SAMPLE_EVERY_S
        now_in_use, now_free = in_use(at / 60), free(at / 60)
        in_hand = 0.0 if chance.random() < 1 / 4 else chance.uniform(0, min(15, now_free))
        seen.memory.append(Sample(at, FILES_MB + now_in_use + now_free, now_in_use + in_hand, now_free - in_hand))
    return seen


def steady(_: float) -> float:
    return 59.0


def steps(minute: float) -> float:
    """What is free, as it was in a soak of sixteen minutes: two backlogs, each longer than any before."""
    return 18.0 + 7 * (minute > 4.5) + 14 * (minute > 15.2)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("minutes", [10, 16, 30])
def test_a_leak_of_one_megabyte_a_minute_is_found(minutes, seed):
    (fault,) = soak(minutes, lambda minute: 59.0 + minute, steps, seed=seed).faults()
    assert fault.startswith("a leak: in use at least ")


def test_a_leak_is_found_where_the_resident_memory_does_not_grow():
    seen = soak(16, lambda minute: 59.0 + minute, lambda minute: 40.0 - minute)
    assert max(sample.resident for sample in seen.memory) == min(sample.resident for sample in seen.memory)
    assert "leak" in seen.faults()[0]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("minutes", [3, 6, 16, 30])
def test_steps_of_the_resident_memory_behind_backlogs_are_no_leak(minutes, seed):
    assert soak(minutes, steady, lambda minute: steps(16 * minute / minutes), seed=seed).faults() == []


def test_caches_that_fill_in_the_first_third_are_no_leak():
    assert soak(15, lambda minute: 40.0 + 4 * min(minute, 5.0), steps).faults() == []


def test_a_backlog_in_the_last_third_is_no_leak():
    assert soak(15, lambda minute: 59.0 + 50 * (11 < minute < 14), steps).faults() == []


def test_more_free_than_a_backlog_leaves_is_a_fault():
    (fault,) = soak(16, steady, lambda minute: FREE_MB + 1 if minute > 8 else 20.0).faults()
    assert f"more than the {FREE_MB:.0f} MB that a backlog may leave" in fault


def test_a_third_without_a_sample_has_no_verdict():
    seen = soak(16, steady, steps)
    del seen.memory[100:]
    with pytest.raises(ValueError, match="100 samples do not tell of three thirds of 16 minutes"):
        seen.faults()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc says what of the heap is free")
def test_what_was_freed_and_is_still_resident_is_not_in_use():
    block, count = 64 * 1024, 640  # 40 MB, in blocks that malloc keeps
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    heaps = Heaps()
    before = heaps.look()
    blocks = [library.malloc(block) for _ in range(count)]
    for each in blocks:
        ctypes.memset(each, 1, block)
    held, resident_held = heaps.look(), anonymous_mb()
    for each in blocks[:-1]:  # above the last nothing can be given back, and so below it
        library.free(each)
    freed, resident_freed = heaps.look(), anonymous_mb()
    library.free(blocks[-1])
    assert held.in_use - before.in_use == pytest.approx(40, abs=4)
    assert freed.in_use == pytest.approx(before.in_use, abs=4)
    assert resident_held - resident_freed < 20  # it need not have grown for them: there may be room that others have left
