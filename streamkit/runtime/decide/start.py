"""Where a partition starts after it was assigned.

committed?  state in changelog?   in the log?       ended before?   ->
no          no                    -                 -               FROM_EARLIEST (and commit that position, R29)
no          yes                   -                 -               REFUSE: offsets of the group are gone (R14)
yes         -                     below log start   -               REFUSE: records were deleted unread; if the user wants to go
                                                                on without them, and of a source, RESUME at the log start
yes         -                     above log end     -               REFUSE: records were cut off after they were processed
yes         of another commit     -                 -               REFUSE: the changelog was deleted or cut off, or the
                                                                position was set back
yes         -                     yes               yes             REFUSE, unless this run also ends, and no source has
                                                                news or it ended while this worker ran
yes         -                     yes               no              RESUME
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamkit.errors import FinishedError, LostOffsetError, StateError, StreamkitError
from streamkit.kafka.client import Committed, TopicPartition
from streamkit.runtime.metadata import OffsetMetadata


@dataclass(frozen=True, slots=True)
class StartFacts:
    """What is known of one partition when its task is about to run.

    Of a repartition partition an end is not asked: control records go on behind it, and who refuses is the source in front.
    """

    tp: TopicPartition
    committed: Committed | None
    log_start: int
    has_state: bool
    until_end: bool
    is_source: bool
    end_offset: int
    group: str
    go_on_without: bool = False  # on_lost_offset = "earliest"
    was_running: bool = False  # this worker had tasks before, or others still have: what has ended ended in this run
    changelogs: Mapping[str, int | None] = field(default_factory=dict)
    """Store -> the commit that its restored state is of; 0: its changelog holds nothing, None: a format that does not say."""


@dataclass(frozen=True, slots=True)
class FromEarliest:
    offset: int


@dataclass(frozen=True, slots=True)
class Resume:
    offset: int
    metadata: OffsetMetadata
    skipped: int = 0  # records that were deleted before they were read


@dataclass(frozen=True, slots=True)
class Refuse:
    error: StreamkitError


def start(facts: StartFacts) -> FromEarliest | Resume | Refuse:
    """The decision for one partition; the table above is tested line by line."""
    committed = facts.committed
    if committed is None or committed.offset < 0:
        if facts.has_state:
            return Refuse(_offsets_gone(facts))
        return FromEarliest(facts.log_start)
    skipped = max(0, facts.log_start - committed.offset)
    if skipped and not (facts.go_on_without and facts.is_source):
        return Refuse(_records_gone(facts, committed.offset))
    if committed.offset > facts.end_offset:  # a bounded run would take it for the end of the input
        return Refuse(
            LostOffsetError(
                f"{facts.tp}: group '{facts.group}' had come to offset {committed.offset}, but the log ends at "
                f"{facts.end_offset}: the topic was made anew, or lost records in an unclean leader election. What was processed "
                "is no longer what is there; to begin again with it, reset the app (streamkit reset)"
            )
        )
    metadata = OffsetMetadata.decode(committed.metadata)
    if metadata is None:
        if facts.has_state:
            return Refuse(_offsets_gone(facts))
        metadata = OffsetMetadata()
    for store, commit in facts.changelogs.items():
        if store in metadata.stores and commit is not None and commit != metadata.state_commit:
            return Refuse(_other_state(facts, store, commit, metadata.state_commit))
    # of an internal topic the sources say whether there is anything new: its own end grows with control records and markers
    may_end_again = facts.was_running or not facts.is_source or facts.end_offset <= committed.offset
    if metadata.ended and not (facts.until_end and may_end_again):
        return Refuse(
            FinishedError(
                f"group '{facts.group}' already ran to the end of {facts.tp} (--until-end at offset {committed.offset}) and "
                "closed its last windows; going on would give them a second result. Reset the app (streamkit reset), or rename it"
            )
        )
    return Resume(committed.offset + skipped, metadata, skipped)


def _records_gone(facts: StartFacts, committed: int) -> LostOffsetError:
    hint = (
        "To go on without them, set on_lost_offset to earliest (windows that are open then lack them); to begin again with what "
        "is left, reset the app (streamkit reset)"
        if facts.is_source
        else "It is a topic of the app itself, where nobody else may delete: reset the app (streamkit reset)"
    )
    return LostOffsetError(
        f"{facts.tp}: group '{facts.group}' had come to offset {committed}, but the log now starts at {facts.log_start}: "
        f"{facts.log_start - committed} records were deleted unread. Raise the topic's retention. {hint}"
    )


def _offsets_gone(facts: StartFacts) -> StateError:
    return StateError(
        f"{facts.tp}: group '{facts.group}' has state in its changelogs but no committed position: somebody reset its offsets. "
        "Reset the whole app (streamkit reset), so that state and positions start together"
    )


def _other_state(facts: StartFacts, store: str, found: int, wanted: int | None) -> StateError:
    if not found:
        what = f"its changelog for partition {facts.tp.partition} holds no state at all: it was deleted, made anew or emptied"
    elif wanted is None or found > wanted:
        what = f"its changelog holds the state of commit {found}: the position was set back by somebody else"
    else:
        what = f"its changelog ends with the state of commit {found}: later records were cut off"
    return StateError(
        f"store '{store}': group '{facts.group}' committed {facts.tp} with the state of commit {wanted}, but {what}. "
        "Reset the app (streamkit reset), so that state and positions start together"
    )
