"""`make golden`: every case in every way; the last line says how many there were and how many differ."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor

from rich.progress import track

from tests.golden.test_golden import CASES, WAYS, expected, run


def differences(name: str) -> list[str]:
    """What a case gives that it should not, way by way."""
    case, found = CASES[name], []
    for way in WAYS:
        try:
            given = run(way, case)
        except Exception as error:  # noqa: BLE001 - the other cases are run all the same, and the command fails
            given = {"error": [repr(error)]}
        if given != expected(case):
            found.append(f"{name}, {way.__name__}: {case['about']}\n  expected {expected(case)}\n  found    {given}")
    return found


def main() -> int:
    count = 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for found in track(pool.map(differences, CASES), "golden", len(CASES), transient=True):
            count += len(found)
            print("\n".join(found), end="\n" if found else "")
    print(f"golden: {len(CASES)} cases x {len(WAYS)} ways, {count} differences")
    return 1 if count or not CASES else 0


if __name__ == "__main__":
    sys.exit(main())
