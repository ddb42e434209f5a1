"""`make golden`: every case in every way; the last line says how many there were and how many differ."""

from __future__ import annotations

import sys

from rich.progress import track

from tests.golden.test_golden import CASES, WAYS, expected


def main() -> int:
    differences = 0
    for name, case in track(CASES.items(), "golden", transient=True):
        for way in WAYS:
            try:
                found = way(case)
            except Exception as error:  # noqa: BLE001 - the other cases are run all the same, and the command fails
                found = {"error": [repr(error)]}
            if found != expected(case):
                differences += 1
                print(f"{name}, {way.__name__}: {case['about']}\n  expected {expected(case)}\n  found    {found}")
    print(f"golden: {len(CASES)} cases x {len(WAYS)} ways, {differences} differences")
    return 1 if differences or not CASES else 0


if __name__ == "__main__":
    sys.exit(main())
