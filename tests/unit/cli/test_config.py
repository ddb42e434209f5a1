"""`streamkit config`, and the settings of `run`, `reset` and `App.run`."""

from __future__ import annotations

import tomllib

import pytest
from typer.testing import CliRunner

import streamkit as sk
from streamkit.cli.main import commands
from streamkit.cli.options import assignments
from streamkit.config import resolve
from streamkit.runtime.watchdog import STUCK_EXIT_CODE

SECRET = "hunter2-of-the-test"
SERVICE = "import streamkit as sk\napp = sk.App('orders')\napp.stream(sk.Topic('a')).to(sk.Topic('b'))\n"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """No streamkit.toml and no Kafka of somebody else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(commands, ["config", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: str) -> str:
    with pytest.raises(sk.errors.ConfigError) as raised:
        CliRunner().invoke(commands, list(arguments), catch_exceptions=False)
    return str(raised.value)


def test_it_says_where_each_value_came_from(directory, monkeypatch):
    (directory / "streamkit.toml").write_text("max_records = 500\n")
    monkeypatch.setenv("STREAMKIT_HEARTBEAT", "2s")
    lines = shown("--set", "commit_interval=50ms", "--bootstrap-servers", "kafka:9092").splitlines()
    cells = {tuple(part.strip() for part in line.split("  # ", 1)) for line in lines}
    assert {
        ("max_records = 500", "streamkit.toml, line 1"),
        ('heartbeat = "2s"', "environment STREAMKIT_HEARTBEAT"),
        ('commit_interval = "50ms"', "argument commit_interval"),
        ('"bootstrap.servers" = "kafka:9092"', "argument kafka.bootstrap.servers"),
        ('idle_check = "500ms"', "default"),
        ("# min_insync_replicas", "default (the broker's)"),
    } <= cells


def test_what_it_prints_is_a_configuration_file(directory):
    given = ["--set", "min_insync_replicas=2", "--set", "kafka.security.protocol=SSL", "--set", 'kafka.client.rack=a "b" \\ ü']
    first = shown(*given)
    tomllib.loads(first)
    (directory / "own.toml").write_text(first)
    again = shown("--config", "own.toml")
    assert tomllib.loads(again) == tomllib.loads(first)
    assert resolve(environ={}, file="own.toml").kafka["client.rack"] == 'a "b" \\ ü'


def test_secrets_are_not_printed(directory, monkeypatch):
    (directory / "streamkit.toml").write_text(f'[kafka]\n"sasl.password" = "{SECRET}"\n')
    monkeypatch.setenv("STREAMKIT_KAFKA__SASL_OAUTHBEARER_CLIENT_SECRET", SECRET)
    printed = shown("--set", f"kafka.ssl.key.password={SECRET}")
    assert SECRET not in printed
    assert '# "sasl.password"' in printed
    assert "hidden; environment STREAMKIT_KAFKA__SASL_OAUTHBEARER_CLIENT_SECRET" in printed


def test_with_an_app_it_shows_the_group(directory):
    (directory / "orders_of_config.py").write_text(SERVICE)
    printed = shown("orders_of_config:app", "--set", "instance_id=i1")
    assert printed.startswith("# app 'orders': the consumer group is 'orders', transactional ids start with 'orders-i1-'\n")
    tomllib.loads(printed)


@pytest.mark.parametrize("command", ["config", "run", "reset", "explain"])
@pytest.mark.parametrize(
    "assignment,said",
    [
        ("max_record=5", "argument max_record: there is no setting 'max_record'; did you mean max_records?"),
        ("commit_interval=10s", "commit_interval (10s) must be at most a quarter of transaction_timeout (30s)"),
        ("kafka.acks=1", "argument kafka.acks: kafka: the property acks=1 is refused: fewer acknowledgements lose records"),
        ("kafka.securty.protocol=SSL", "librdkafka has no property 'securty.protocol'; did you mean security.protocol?"),
        (
            "kafka.security.protocol=TLS",
            "argument kafka.security.protocol: librdkafka refuses the value of security.protocol: Inv",
        ),
        (f"kafka.sasl.pasword={SECRET}", "librdkafka has no property 'sasl.pasword'; did you mean sasl.password?"),
        (f"kafka.oauth_cb={SECRET}", "librdkafka refuses the value of oauth_cb: it is no text"),
        (
            "kafka.socket.timeout.ms=60000",
            "argument kafka.socket.timeout.ms: kafka: socket.timeout.ms (60000) is above transaction",
        ),
        ("kafka.group.id=mine", "the group is the name of the app"),
    ],
)
def test_wrong_settings_are_refused_by_every_command(directory, command, assignment, said):
    (directory / "orders_of_config.py").write_text(SERVICE)
    needed = ["--window", "A@0"] if command == "explain" else []
    message = refused(command, "orders_of_config:app", *needed, "--set", assignment)
    assert said in message
    assert SECRET not in message


@pytest.mark.parametrize("wrong", ["commit_interval", "=5", f"kafka.sasl.password {SECRET}"])
def test_a_set_without_a_value_is_wrong_usage(wrong):
    done = CliRunner().invoke(commands, ["config", "--set", wrong])
    assert done.exit_code == 2
    assert "write --set NAME=VALUE" in done.output
    assert SECRET not in done.output


def test_assignments_may_have_equal_signs():
    assert assignments(["kafka.sasl.password=a=b=", "max_records = 5"]) == {"kafka.sasl.password": "a=b=", "max_records": "5"}


@pytest.mark.parametrize("command", [[], ["run"], ["reset"], ["topology"], ["explain"], ["config"]])
def test_help_says_the_exit_codes(command):
    done = CliRunner().invoke(commands, [*command, "--help"])
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    assert "Exit codes: 0 done or drained" in said
    assert f" {STUCK_EXIT_CODE} a call of the Kafka client never returned" in said


@pytest.mark.parametrize(
    "options,said",
    [
        ({"settings": {"commit_interval": 5}}, "argument commit_interval: 5 has no unit"),
        ({"settings": 5}, "settings are a dict such as"),
        ({"kafka": {"acks": "1"}}, "argument kafka.acks: kafka: the property acks=1 is refused"),
        ({"config": "nope.toml"}, "the configuration file 'nope.toml' cannot be read"),
        ({"on_error": "maybe"}, "argument on_error: 'maybe' is none of stop, skip"),
        ({"log_level": "LOUD"}, "argument log_level: 'LOUD' is none of"),
    ],
)
def test_app_run_refuses_wrong_settings(options, said):
    app = sk.App("orders")
    app.stream(sk.Topic("a")).to(sk.Topic("b"))
    with pytest.raises(sk.errors.ConfigError) as raised:
        app.run(**options)
    assert said in str(raised.value)


def test_app_run_takes_settings_by_name(monkeypatch):
    """The start-up time-out is that of the call, and the address that of the environment."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("STREAMKIT_START_TIMEOUT", "1h")
    app = sk.App("orders")
    app.stream(sk.Topic("a")).to(sk.Topic("b"))
    with pytest.raises(sk.errors.BrokerUnreachableError, match=r"127\.0\.0\.1:1 within 1 s"):
        app.run(settings={"start_timeout": "1s"})
