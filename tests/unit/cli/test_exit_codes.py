"""Every wrong call of every command ends in one clear line, without a traceback, and with the exit code of its kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamkit import errors
from streamkit.cli.exit_codes import BUG, TABLE, exit_code, in_words
from streamkit.cli.main import commands, run_command_line
from streamkit.errors import RejectedRecordError, StreamkitError
from streamkit.runtime.watchdog import STUCK_EXIT_CODE
from tests.support.reference_pages import PLACE

APP = """\
import streamkit as sk

app = sk.App("numbers")
numbers = app.stream(sk.Topic("numbers", key=str, value=int))
numbers.map(lambda value: 100 // value).to(sk.Topic("inverse", key=str, value=int))
not_an_app = 5


def made():
    return app


def made_wrong():
    return not_an_app


def needs(argument):
    return app
"""
NAMES = sorted(command.name or "" for command in commands.registered_commands)
OF_APPS = [name for name in NAMES if name != "new"]
NEEDS = {"explain": ["--window", "A@0"]}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a name that no other test imports, in the working directory."""
    name = f"app_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(APP)
    (tmp_path / f"{name}_broken.py").write_text("import streamkit as sk\nimport there_is_no_such_module\n")
    (tmp_path / f"{name}_raising.py").write_text("raise ValueError('so it is')\n")
    (tmp_path / f"{name}_syntax.py").write_text("app = (\n")
    monkeypatch.chdir(tmp_path)
    for variable in [each for each in os.environ if each.startswith(("STREAMKIT_", "KAFKA_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return name


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of the command, in this process."""
    needed = NEEDS.get(arguments[0], []) if arguments and "--window" not in arguments else []
    monkeypatch.setattr(sys, "argv", ["streamkit", *arguments[:1], *needed, *arguments[1:]])
    try:
        run_command_line()
    except SystemExit as left:
        return int(left.code or 0), capsys.readouterr().err
    return 0, capsys.readouterr().err


def is_one_clear_error(text: str) -> bool:
    return text.startswith("error: ") and "Traceback" not in text and len(text) < 1_000


@pytest.mark.parametrize("command", NAMES)
@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["a", "b", "c"], ["--set"], ["--set", "max_records"], ["--config"]], ids=" ".join
)
def test_arguments_that_there_are_not(command, arguments, monkeypatch, capsys):
    code, text = run(monkeypatch, capsys, command, *arguments)
    assert code == 2
    assert "Error" in text  # in a box, below the usage
    assert "Traceback" not in text


@pytest.mark.parametrize("command", [name for name in OF_APPS if name != "config"])
def test_an_app_has_to_be_named(command, monkeypatch, capsys):
    code, text = run(monkeypatch, capsys, command)
    assert code == 2
    assert "Missing argument 'APP'" in text


@pytest.mark.parametrize("command", OF_APPS)
@pytest.mark.parametrize(
    "target,says",
    [
        ("{name}_gone:app", "there is no module"),
        ("{name}_gone.py", "there is no file"),
        ("{name}:ap", "did you mean 'app'"),
        ("{name}:not_an_app", "is of type int, not a sk.App"),
        ("{name}:made_wrong", "returns of type int, not a sk.App"),
        ("{name}:needs", "needs arguments (argument)"),
        ("{name}_broken", "does not import: ModuleNotFoundError"),
        ("{name}_raising", "does not import: ValueError at "),
        ("{name}_syntax", "does not import: SyntaxError"),
        (":app", "names no module"),
        ("", "names no module"),
    ],
)
def test_what_is_no_app_is_one_clear_error(command, target, says, module, monkeypatch, capsys):
    code, text = run(monkeypatch, capsys, command, target.format(name=module))
    assert code == 1
    assert is_one_clear_error(text)
    assert says in text


@pytest.mark.parametrize("command", [name for name in OF_APPS if name not in ("topology", "sim")])
@pytest.mark.parametrize(
    "arguments,says",
    [
        (["--set", "max_recrods=5"], "did you mean max_records"),
        (["--set", "max_records=many"], "'many' is not a whole number"),
        (["--set", "commit_interval=1h"], "commit_interval"),
        (["--set", "kafka.acks=1"], "the property acks=1 is refused"),
        (["--set", "kafka.securty.protocol=SSL"], "did you mean security.protocol"),
        (["--config", "gone.toml"], "'gone.toml' cannot be read"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_wrong_settings_are_one_clear_error(command, arguments, says, module, monkeypatch, capsys):
    where = ["--broker", "127.0.0.1:1"] if command == "dev" else []
    code, text = run(monkeypatch, capsys, command, f"{module}:app", *where, *arguments)
    assert code == 1
    assert is_one_clear_error(text)
    assert says in text


@pytest.mark.parametrize("command", ["run", "reset"])
def test_a_certificate_that_is_not_there(command, module, monkeypatch, capsys):
    properties = ["--set", "kafka.security.protocol=SSL", "--set", "kafka.ssl.ca.location=/nowhere/ca.pem"]
    code, text = run(monkeypatch, capsys, command, f"{module}:app", *properties)
    last = text[text.index("error: ") :]
    assert code == 1
    assert is_one_clear_error(last)
    assert "ssl.ca.location" in last
    assert "caused by" not in last


@pytest.mark.parametrize("command,where", [("run", "--bootstrap-servers"), ("reset", "--bootstrap-servers"), ("dev", "--broker")])
def test_a_kafka_that_is_not_there(command, where, module, monkeypatch, capsys):
    monkeypatch.setenv("STREAMKIT_START_TIMEOUT", "3s")
    code, text = run(monkeypatch, capsys, command, f"{module}:app", where, "127.0.0.1:1")
    last = text[text.index("error: ") :]
    assert code == 3, text
    assert is_one_clear_error(last)
    assert "127.0.0.1:1" in last
    assert "Connection refused" in last


WINDOWED = """\
import streamkit as sk

app = sk.App("counts")
rows = app.stream(sk.Topic("rows", key=str), event_time=sk.event_time("at")).by_record_key()
for name in ("short", "long"):
    rows.window(sk.tumbling("1m")).aggregate(name, n=sk.count()).on_close().to(sk.Topic(name))
"""


@pytest.mark.parametrize(
    "arguments,code,says",
    [
        (["--window", "A"], 2, "has no @"),
        (["--window", "A@08:00"], 2, "is no START"),
        (["--window", "A@2020-04-15T08:00:00"], 2, "time without its zone"),
        (["--window", "A@0"], 1, "has several aggregates, say which: short, long"),
        (["--window", "A@0", "--aggregate", "shrt"], 1, "did you mean 'short'"),
        (["--window", "A@0", "--aggregate", "short", "--bootstrap-servers", "127.0.0.1:1"], 3, "127.0.0.1:1"),
    ],
)
def test_wrong_questions_about_a_window(arguments, code, says, module, tmp_path, monkeypatch, capsys):
    (tmp_path / f"{module}_windows.py").write_text(WINDOWED)
    monkeypatch.setenv("STREAMKIT_START_TIMEOUT", "1s")
    monkeypatch.setenv("COLUMNS", "500")  # usage errors are in a box
    found, text = run(monkeypatch, capsys, "explain", f"{module}_windows:app", *arguments)
    assert found == code, text
    assert says in text
    assert "Traceback" not in text


def streamkit(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("streamkit")), *arguments]


def test_a_question_by_signal_ends_no_command_that_is_starting() -> None:
    """SIGUSR1 asks a service what it is at; one that has not come so far must not die of it."""
    program = (
        "import os, signal, sys\nfrom streamkit.cli import main\nsys.argv = ['streamkit', '--version']\n"
        "try:\n    main()\nfinally:\n    os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


def test_a_record_that_cannot_be_processed(module, tmp_path):
    (tmp_path / "in.jsonl").write_text("1\n0\n")
    command = streamkit("dev", f"{module}:app", "--input", "numbers=in.jsonl")
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 5, done.stderr
    assert "error: operator 'map(lambda)', numbers-0@1: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("saved", [False, True], ids=["running", "waiting"])
def test_sigterm_ends_dev_as_ctrl_c_does(module, tmp_path, saved):
    """While the app runs, and while it waits for a better version."""
    command = streamkit("dev", f"{module}:app", "--input", "numbers=-")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        wanted = "app 'numbers' on"
        if saved:
            process.stdin.write("0\n")
            process.stdin.flush()
            wanted = "waiting for the file to be saved"
        while wanted not in (line := process.stderr.readline()):
            assert line, "it ended"
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_an_error_that_nobody_expected_has_its_traceback_and_its_code(monkeypatch, capsys):
    monkeypatch.setattr("streamkit.cli.main.commands", lambda: 1 // 0)
    code, text = run(monkeypatch, capsys)
    assert code == BUG
    assert "ZeroDivisionError" in text
    assert "Traceback" in text


def test_polars_gets_one_thread_unless_somebody_wants_more():
    code = "import os, sys; sys.argv[1:] = ['--version']; from streamkit.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    shown = f"{code}print(os.environ['POLARS_MAX_THREADS'])"
    environ = {name: value for name, value in os.environ.items() if name != "POLARS_MAX_THREADS"}
    for given, wanted in (({}, "1"), ({"POLARS_MAX_THREADS": "3"}, "3")):
        done = subprocess.run(
            [sys.executable, "-c", shown], env=environ | given, capture_output=True, text=True, timeout=200, check=True
        )
        assert done.stdout.split()[-1] == wanted


# ---- the table


def kinds() -> list[type[StreamkitError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, StreamkitError)]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_the_table(kind):
    code = exit_code(kind.__new__(kind))
    assert code in {each.code for each in TABLE}
    assert code not in (0, 2, BUG)


def test_codes_are_given_once_and_those_of_parts_are_theirs():
    codes = [each.code for each in TABLE]
    assert len(set(codes)) == len(codes)
    assert STUCK_EXIT_CODE in codes
    assert exit_code(RejectedRecordError("too large")) == 5  # although it is a KafkaError
    assert exit_code(errors.FencedError("fenced")) == 7


def test_the_codes_are_documented():
    page = (PLACE / "errors.md").read_text()  # that it is up to date is shown in tests/docs
    for each in TABLE:
        assert f"- {each.code} {each.meaning}" in page
    assert len(in_words().split("; ")) == len(TABLE)
