"""With which code the process leaves, so that what started it can tell whether starting it again is of any use.

The first line that fits an error counts. The codes are public: they never change their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamkit import errors

BUG: Final = 70
"""EX_SOFTWARE of sysexits.h."""


@dataclass(frozen=True, slots=True)
class ExitCode:
    """``kinds``: the errors that lead to it; none where something else does."""

    code: int
    meaning: str
    kinds: tuple[type[errors.StreamkitError], ...] = ()


TABLE: Final[Sequence[ExitCode]] = (
    ExitCode(0, "done or drained"),
    ExitCode(2, "wrong arguments"),
    ExitCode(
        4,
        "Kafka does not let us in or does not allow something",
        (errors.AuthenticationError, errors.AuthorizationError),
    ),
    ExitCode(5, "a record that cannot be processed", (errors.RecordError, errors.RejectedRecordError)),
    ExitCode(
        6,
        "records, positions or state that are gone or do not fit together",
        (errors.LostOffsetError, errors.StateError, errors.TopicChangedError, errors.FinishedError),
    ),
    ExitCode(7, "another worker under the same instance id", (errors.FencedError,)),
    ExitCode(8, "window state has come to memory_limit_mb", (errors.StateLimitError,)),
    ExitCode(
        3,
        "Kafka does not answer or fails: start again later",
        (errors.BrokerUnreachableError, errors.StalledError, errors.KafkaError),
    ),
    ExitCode(
        1, "any other error that streamkit names in one line, wrong settings and modules included", (errors.StreamkitError,)
    ),
    ExitCode(BUG, "an error that nobody expected, with its traceback"),
    ExitCode(75, "a call of the Kafka client never returned: start again, as --workers does by itself"),
    ExitCode(130, "after a second Ctrl-C, which does not wait"),
    ExitCode(143, "after a second SIGTERM, which does not wait"),
)


def exit_code(error: BaseException) -> int:
    """The code for an error that ends a command.

    >>> exit_code(errors.ConfigError("max_records: ...")), exit_code(errors.AuthenticationError("...")), exit_code(KeyError("x"))
    (1, 4, 70)
    """
    return next((each.code for each in TABLE if each.kinds and isinstance(error, each.kinds)), BUG)


def in_words() -> str:
    """All of them in one sentence, for the end of every help page."""
    return "Exit codes: " + "; ".join(f"{each.code} {each.meaning}" for each in sorted(TABLE, key=lambda each: each.code)) + "."
