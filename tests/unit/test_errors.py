"""What errors say."""

from __future__ import annotations

import pytest

from streamkit.errors import RejectedRecordError


@pytest.mark.parametrize(
    "code,says",
    [
        ("MSG_SIZE_TOO_LARGE", "Raise the topic's max.message.bytes"),
        ("INVALID_TIMESTAMP", "raise its message.timestamp.before.max.ms and .after.max.ms"),
        ("INVALID_RECORD", "A compacted topic takes no record without a key"),
    ],
)
def test_a_refused_record_says_where_which_and_what_to_do_but_not_its_key(code, says):
    text = str(RejectedRecordError("a record for out-2 was not delivered", code=code, call="flush", key=b"alice@example.org"))
    assert text.startswith(f"flush: a record for out-2 was not delivered [{code}], key hash 8f5e964f. ")
    assert says in text
    assert "alice" not in text


def test_without_a_key_there_is_no_hash():
    assert str(RejectedRecordError("refused", code="X")) == "refused"
