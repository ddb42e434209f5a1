"""The tutorial does what it says: each step is carried out in a directory of its own, with the files of the steps before it."""

from __future__ import annotations

from pathlib import Path

import pytest

import streamkit as sk
from tests.support.pages import Command, File, Page, PageError, parts

pytestmark = pytest.mark.timeout(300)  # commands are processes, and the machine may be busy

TUTORIAL = Path(__file__).resolve().parents[2] / "docs/tutorial"
STEPS = sorted(path.name for path in TUTORIAL.glob("[0-9]-*.md"))
TOPICS = ("orders", "order-totals", "late-orders")


def carry_out(step: str, place: Path, **environment: str) -> int:
    page = Page(place, environment)
    for before in STEPS[: STEPS.index(step)]:
        page.write_files((TUTORIAL / before).read_text())
        if before.startswith("5-"):
            (place / "order-1.avsc").write_text(FIRST_SCHEMA)
    page.run((TUTORIAL / step).read_text())
    return page.ran


FIRST_SCHEMA = (
    '{"type": "record", "name": "Order", "fields": [{"name": "shop", "type": "string"}, {"name": "amount", "type": "double"}, '
    '{"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}'
)


@pytest.mark.parametrize("step,commands", [("1-first-pipeline.md", 5), ("2-windows.md", 1), ("3-late-records.md", 1),
                                           ("4-testing.md", 1), ("5-avro.md", 4)])  # fmt: skip
def test_a_step(step, commands, tmp_path):
    assert carry_out(step, tmp_path) == commands


@pytest.fixture
def kafka(real_broker: str):
    clear(real_broker)
    yield real_broker
    clear(real_broker)


def clear(bootstrap: str) -> None:
    admin = sk.Broker.at(bootstrap).client.admin()
    try:
        internal = [name for name in admin.topic_names(20) if name.startswith("shops.")]
        admin.delete_topics([*TOPICS, *internal], 20)
        admin.delete_group("shops", 20)
    finally:
        admin.close()


def test_the_last_step_on_kafka(kafka, tmp_path):
    assert carry_out("6-kafka.md", tmp_path, KAFKA_BOOTSTRAP_SERVERS=kafka) == 6


def test_every_step_is_carried_out():
    assert [step[0] for step in STEPS] == list("123456")
    index = (TUTORIAL / "README.md").read_text()
    assert all(f"({step})" in index for step in STEPS)


PAGE = """# A page

<!-- file: hello.py -->
```python
print("hello", 1 + 1)
```

```console
$ python hello.py
hello 2
$ cd sub 2>/dev/null || mkdir sub && cd sub
$ ls ..
hello.py
sub
```
"""


class TestMachinery:
    def test_parts(self):
        assert list(parts(PAGE)) == [
            File("hello.py", 'print("hello", 1 + 1)\n', 5),
            Command("python hello.py", "hello 2\n", 9),
            Command("cd sub 2>/dev/null || mkdir sub && cd sub", "", 11),
            Command("ls ..", "hello.py\nsub\n", 12),
        ]

    def test_it_runs(self, tmp_path):
        page = Page(tmp_path)
        page.run(PAGE)
        assert page.ran == 3

    @pytest.mark.parametrize(
        "old,new,message",
        [
            ("hello 2", "hello 3", "line 9: python hello.py\nwanted:\nhello 3\n\nfound:\nhello 2"),
            ("hello.py\nhello 2", "hello.py --version; exit 3", "exit code 3"),
            ("$ python", "python", "line 9: output without a command"),
        ],
    )
    def test_what_is_not_so_is_found(self, tmp_path, old, new, message):
        with pytest.raises(PageError) as caught:
            Page(tmp_path).run(PAGE.replace(old, new))
        assert message in str(caught.value)

    def test_until(self, tmp_path):
        text = "<!-- until: ready -->\n```console\n$ python wait.py\nready\nbye\n```\n"
        (tmp_path / "wait.py").write_text(
            "import time\ntry:\n    print('ready', flush=True)\n    time.sleep(50)\nexcept KeyboardInterrupt:\n    print('bye')\n"
        )
        Page(tmp_path).run(text)
        with pytest.raises(PageError, match="does not come to 'steady'"):
            (tmp_path / "wait.py").write_text("print('ready')")
            Page(tmp_path).run(text.replace("until: ready", "until: steady"))
