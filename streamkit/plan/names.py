"""Names: of apps, aggregates and repartitions, and of the topics that stand behind them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from streamkit.errors import DeclarationError

_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
_TOPIC_LENGTH = 249  # Kafka's limit: the directory of a partition is the topic's name, a dash and a number


def checked_name(name: object, *, what: str) -> str:
    """A name that owns state or a topic: kebab-case, so that topics, metrics and files can be named after it.

    >>> checked_name("bids-per-item", what="aggregate")
    'bids-per-item'
    >>> checked_name("Bids_per_item", what="aggregate")
    Traceback (most recent call last):
    streamkit.errors.DeclarationError: aggregate: 'Bids_per_item' is not a kebab-case name; write it as 'bids-per-item'
    """
    if not isinstance(name, str):
        raise DeclarationError(f"{what}: a name is a str, got {name!r}")
    if not _KEBAB.fullmatch(name):
        proposal = kebab(name)
        hint = f"write it as '{proposal}'" if proposal else "use lower-case letters, digits and single dashes"
        raise DeclarationError(f"{what}: '{name}' is not a kebab-case name; {hint}")
    return name


def checked_topic(name: object) -> str:
    """A topic name by Kafka's rules: 1 to 249 of ASCII letters, digits, '.', '_' and '-', and not '.' or '..'."""
    if not isinstance(name, str):
        raise DeclarationError(f"a topic name is a str, got {name!r}")
    if not name or name in {".", ".."}:
        raise DeclarationError(f"'{name}' cannot be a topic name: Kafka refuses the empty name, '.' and '..'")
    if len(name) > _TOPIC_LENGTH:
        raise DeclarationError(f"topic '{name[:40]}...' has {len(name)} characters; Kafka takes at most {_TOPIC_LENGTH}")
    if not _TOPIC.fullmatch(name):
        wrong = ", ".join(sorted({repr(char) for char in name if not _TOPIC.fullmatch(char)}))
        raise DeclarationError(
            f"'{name}' cannot be a topic name: Kafka takes ASCII letters, digits, '.', '_' and '-', not {wrong}"
        )
    return name


def kebab(text: str) -> str:
    """The nearest kebab-case name: ``orders.v1_raw`` gives ``orders-v1-raw``; empty if nothing is left."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
    return re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-")


def repartition_topic(app: str, name: str) -> str:
    return f"{app}.{name}.repartition"


def changelog_topic(app: str, name: str) -> str:
    return f"{app}.{name}.changelog"


def is_internal(topic: str, app: str) -> bool:
    """Whether a topic is one of the app's own, of this or an older version of its plan.

    >>> is_internal("bids.totals.changelog", "bids"), is_internal("bids-late", "bids")
    (True, False)
    """
    return topic.startswith(f"{app}.") and topic.endswith((".changelog", ".repartition"))


def near_names(name: str, known: Iterable[str]) -> str:
    """For the end of an error: the nearest of the known names, then all of them (at most 20).

    >>> near_names("prise", ["item", "price"])
    "did you mean 'price'? There is: item, price"
    """
    names = [str(each) for each in known]
    if not names:
        return "there are none"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    near = difflib.get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    return f"did you mean '{near[0]}'? There is: {shown}" if near else f"there is: {shown}"
