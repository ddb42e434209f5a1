"""A sampled profile of a run, as one HTML page: `streamkit run --profile FILE`."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from streamkit.errors import ConfigError
from streamkit.instrument import Instrument

if TYPE_CHECKING:
    from pyinstrument import Profiler

INTERVAL_S: Final = 0.002
LONGEST_S: Final = 600.0
"""Every sample is kept until the page is written, some 300 bytes each; so a service that runs on is not sampled for ever."""


def check_writable(path: Path) -> None:
    """`ConfigError`: the file cannot be written. Opened as it will be: that of a directory, or of a file that may only be read,
    changes its time without an error."""
    try:
        path.open("a").close()
    except OSError as error:
        raise ConfigError(f"--profile {path}: the file cannot be written ({error.strerror})") from None


class Profile:
    """Samples the thread that enters it until it leaves, however it leaves, or for ten minutes; then the page is written.

    `ConfigError` before anything runs: pyinstrument is not installed, or the file cannot be written. One that cannot be written
    in the end is told: the service ends as it would have without it.
    """

    def __init__(self, path: str | Path, instrument: Instrument) -> None:
        if find_spec("pyinstrument") is None:
            raise ConfigError("--profile needs pyinstrument, which is not installed: pip install 'streamkit[profile]'")
        self._path = Path(path)
        self._instrument = instrument
        self._profiler: Profiler | None = None
        self._until = 0.0
        check_writable(self._path)

    def __enter__(self) -> Self:
        from pyinstrument import Profiler  # noqa: PLC0415 - an optional extra

        self._profiler = Profiler(interval=INTERVAL_S, async_mode="disabled")
        self._until = time.monotonic() + LONGEST_S
        self._profiler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write()

    def look(self) -> None:
        """Between steps: whether it has been long enough."""
        if self._profiler is not None and time.monotonic() >= self._until:
            self._write()

    def _write(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        session = profiler.stop()
        try:
            self._path.write_text(profiler.output_html(), encoding="utf-8")
        except OSError as error:
            self._instrument.event("profile-lost", path=str(self._path), error=str(error))
            return
        self._instrument.event("profile-written", path=str(self._path), seconds=round(session.duration, 1))
