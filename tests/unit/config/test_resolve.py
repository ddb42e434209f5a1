"""Settings: who wins, where each value came from, and what wrong ones are told."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

import streamkit as sk
from streamkit.config.catalogue import settings
from streamkit.config.resolve import engine_arguments, kafka_arguments, listing, resolve
from streamkit.config.secrecy import is_secret
from streamkit.config.sources import variable_of

SECRET = "hunter2-of-the-test"
LONG = {"session_timeout": "1m", "max_poll_interval": "10m"}  # their order to others


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """No streamkit.toml of somebody else."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(arguments=None, **options) -> str:
    with pytest.raises(sk.errors.ConfigError) as raised:
        resolve(arguments, **{"environ": {}, **options})
    return str(raised.value)


def file(directory, text, name="streamkit.toml"):
    path = directory / name
    path.write_text(text)
    return path


# ---- who wins


def test_without_anything_there_are_the_defaults():
    found = resolve(environ={})
    assert found.engine == sk.EngineSettings()
    assert (found.bootstrap_servers, dict(found.kafka), found.on_error) == ("localhost:9092", {}, "stop")
    assert {where.partition(" ")[0] for _, _, where in listing(found)} == {"default"}


def test_each_source_wins_over_those_before_it(directory):
    file(directory, 'max_records = 1\npoll_timeout = "1ms"\nheartbeat = "1ms"\n[kafka]\nbootstrap.servers = "file:1"\n')
    environ = {"STREAMKIT_POLL_TIMEOUT": "2ms", "STREAMKIT_HEARTBEAT": "2ms", "KAFKA_BOOTSTRAP_SERVERS": "environment:1"}
    found = resolve({"heartbeat": "3ms"}, environ=environ)
    assert (found.engine.max_records, found.engine.poll_timeout_ms, found.engine.heartbeat_ms) == (1, 2, 3)
    assert found.bootstrap_servers == "environment:1"
    assert found.origin("max_records") == "streamkit.toml, line 1"
    assert found.origin("poll_timeout") == "environment STREAMKIT_POLL_TIMEOUT"
    assert found.origin("heartbeat") == "argument heartbeat"
    assert found.origin("kafka.bootstrap.servers") == "environment KAFKA_BOOTSTRAP_SERVERS"
    assert found.origin("idle_check") == "default"


@pytest.mark.parametrize("name", sorted(settings()))
def test_every_setting_can_come_from_every_source(directory, name):
    setting = settings()[name]
    text = setting.choices[-1] if setting.choices else "else"
    value = {"duration": LONG.get(name, "6s"), "number": "3", "text": text, "flag": "true"}[setting.kind]
    key = f'"{name}"' if "." not in name else "kafka.bootstrap.servers"
    path = file(directory, f'{key} = "{value}"\n', "own.toml")
    ways = [resolve({name: value}, environ={}), resolve(environ={variable_of(name): value}), resolve(environ={}, file=path)]
    shown = [next(row[1] for row in listing(way) if row[0] == name) for way in ways]
    assert shown == [{"number": 3, "flag": True}.get(setting.kind, value)] * 3
    assert len({way.origin(name) for way in ways}) == 3


def test_the_named_file_is_instead_of_the_one_that_lies_there(directory):
    file(directory, "max_records = 1\n")
    by_variable, by_argument = (
        file(directory, "max_records = 2\n", "two.toml"),
        file(directory, "max_records = 3\n", "three.toml"),
    )
    environ = {"STREAMKIT_CONFIG": str(by_variable)}
    assert resolve(environ={"STREAMKIT_CONFIG": ""}).engine.max_records == 1
    assert resolve(environ=environ).engine.max_records == 2
    assert resolve(environ=environ, file=by_argument).engine.max_records == 3


def test_our_own_variable_wins_over_the_well_known_one():
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "a:1", "STREAMKIT_KAFKA__BOOTSTRAP_SERVERS": "b:1"}
    assert resolve(environ=environ).bootstrap_servers == "b:1"


def test_nothing_is_read_before_it_is_asked_for(monkeypatch):
    app = sk.App("late")
    app.stream(sk.Topic("a")).to(sk.Topic("b"))
    monkeypatch.setenv("STREAMKIT_MAX_RECORDS", "many")
    with pytest.raises(
        sk.errors.ConfigError, match="environment STREAMKIT_MAX_RECORDS: max_records: 'many' is not a whole number"
    ):
        app.run(broker=sk.Broker.embedded())


# ---- what values may look like


@pytest.mark.parametrize("value,ms", [("50ms", 50), (" 2s ", 2_000), (timedelta(seconds=1), 1_000)])
def test_durations(value, ms):
    assert resolve({"commit_interval": value}, environ={}).engine.commit_interval_ms == ms


@pytest.mark.parametrize("value,number", [("2000", 2_000), ("2_000", 2_000), (" 5 ", 5), (7, 7)])
def test_numbers(value, number):
    assert resolve({"max_records": value}, environ={}).engine.max_records == number


@pytest.mark.parametrize("value,flag", [("true", True), ("False", False), (True, True)])
def test_flags(value, flag):
    assert resolve({"static_membership": value}, environ={}).engine.static_membership is flag


def test_an_engine_settings_is_all_of_its_fields(directory):
    engine = sk.EngineSettings(commit_interval_ms=1, min_insync_replicas=2, control_interval_ms=0)
    found = resolve(engine_arguments(engine), environ={"STREAMKIT_MAX_RECORDS": "7"})
    assert found.engine == engine
    assert found.origin("max_records") == "argument max_records"


def test_properties_of_kafka_in_every_spelling(directory):
    file(directory, '[kafka]\nsecurity.protocol = "SSL"\n"linger.ms" = 5\nsocket.keepalive.enable = true\n')
    environ = {"STREAMKIT_KAFKA__SASL_USERNAME": "me"}
    found = resolve(kafka_arguments({"debug": "broker"}), environ=environ)
    assert dict(found.kafka) == {
        "security.protocol": "SSL",
        "linger.ms": "5",
        "socket.keepalive.enable": "true",
        "sasl.username": "me",
        "debug": "broker",
    }
    assert found.origin("kafka.security.protocol") == "streamkit.toml, line 2"
    assert found.origin("kafka.linger.ms") == "streamkit.toml, line 3"


def test_a_key_that_stands_twice_is_not_given_a_wrong_line(directory):
    file(directory, 'instance_id = """\nmax_records = 9\n"""\nmax_records = 5\n')
    found = resolve(environ={})
    assert (found.engine.max_records, found.origin("max_records")) == (5, "streamkit.toml, key max_records")


def test_variables_that_are_no_settings_are_left_alone():
    links = ["STREAMKIT_SERVICE_HOST", "STREAMKIT_PORT", "STREAMKIT_UI_SERVICE_PORT_HTTP", "STREAMKIT_PORT_80_TCP_ADDR"]
    environ = dict.fromkeys([*links, "STREAMKIT_CACHE", "STREAMKIT_TEST_SEED", "STREAMKITTEN", "PATH"], "tcp://10.0.0.1:80")
    assert not resolve(environ=environ).origins


# ---- what wrong ones are told


@pytest.mark.parametrize(
    "name,said",
    [
        ("max_record", "there is no setting 'max_record'; did you mean max_records?"),
        ("commit-interval", "did you mean commit_interval?"),
        ("commit_interval_ms", 'write commit_interval, with the unit in the value, such as "50ms"'),
        ("bootstrap_servers", "did you mean kafka.bootstrap.servers?"),
        ("sasl.password", "a property of librdkafka is written kafka.sasl.password"),
        ("zzz", "`streamkit config` lists all settings"),
        ("kafka.", "there is no setting 'kafka.'"),
    ],
)
def test_an_unknown_name_has_its_neighbour(name, said):
    message = refusal({name: SECRET})
    assert message.startswith(f"argument {name}: ")
    assert said in message
    assert SECRET not in message


def test_an_unknown_name_says_where_it_stands(directory):
    said = refusal(environ={"STREAMKIT_COMIT_INTERVAL": "5ms"})
    assert said == (
        "environment STREAMKIT_COMIT_INTERVAL: there is no setting 'comit_interval'; did you mean STREAMKIT_COMMIT_INTERVAL?"
    )
    file(directory, "\n# here\nmax_record = 5\n")
    assert refusal().startswith("streamkit.toml, line 3: there is no setting 'max_record'")
    file(directory, "[engine]\nmax_records = 5\n")
    assert refusal().startswith("streamkit.toml, line 2: there is no setting 'engine.max_records'")


@pytest.mark.parametrize(
    "name,value,said",
    [
        ("commit_interval", 50, "50 has no unit"),
        ("commit_interval", "50 minutes", "'50 minutes' is not a duration"),
        ("commit_interval", "0ms", "'0ms' is out of range; it must be at least 1ms, at most 1d"),
        ("poll_timeout", "-5ms", "'-5ms' is out of range; it must be at least 0s"),
        ("commit_interval", timedelta(microseconds=5), "finer than a millisecond"),
        ("max_records", "1.5", "'1.5' is not a whole number"),
        ("max_records", "1__0", "'1__0' is not a whole number"),
        ("max_records", True, "True is not a whole number"),
        ("max_records", 0, "0 is out of range; it must be at least 1, at most 1000000"),
        ("start_timeout", "999999999999d", "at most 1d"),
        ("session_timeout", "2h", "at most 1h"),
        ("min_insync_replicas", "40000", "at most 32767"),
        ("max_records", "9" * 5000, "is not a whole number"),
        ("transaction_timeout", "10ms", "it must be at least 1s"),
        ("log_level", "loud", "'loud' is none of DEBUG, INFO, WARNING, ERROR"),
        ("on_error", 5, "5 is not a text"),
        ("group_protocol", "eager", "'eager' is none of classic, consumer"),
        ("static_membership", "yes", "'yes' is neither true nor false"),
        ("instance_id", " ", "' ' is empty"),
        ("kafka.sasl.password", [SECRET], "a list is no value of a Kafka property"),
    ],
)
def test_a_wrong_value_says_what_and_where(directory, name, value, said):
    message = refusal({name: value})
    assert message.startswith(f"argument {name}: ")
    assert said in message
    assert SECRET not in message


def test_a_wrong_value_in_a_file(directory):
    file(directory, '[kafka]\nlinger.ms = 5\n"sasl.password" = ["x"]\n')
    assert refusal().startswith("streamkit.toml, line 3: kafka.sasl.password: a list is no value")


def test_files_that_cannot_be_read(directory):
    assert refusal(file="nope.toml") == "the configuration file 'nope.toml' cannot be read: No such file or directory"
    assert "'n.toml' (named by STREAMKIT_CONFIG) cannot be read" in refusal(environ={"STREAMKIT_CONFIG": "n.toml"})
    file(directory, "max_records = \n")
    assert refusal().startswith("streamkit.toml is not TOML: Invalid value (at line 1")
    (directory / "streamkit.toml").write_bytes(b"\xff")
    assert "it is not UTF-8" in refusal()
    assert "cannot be read" in refusal(file=directory)


@pytest.mark.parametrize(
    "given,said",
    [
        ({"commit_interval": "10s"}, "commit_interval (10s) must be at most a quarter of transaction_timeout (30s): a slow"),
        ({"transaction_timeout": "45s"}, "transaction_timeout (45s) must be below session_timeout (45s): the transaction"),
        ({"session_timeout": "10m"}, "session_timeout (10m) must be at most max_poll_interval (5m): "),
    ],
)
def test_a_broken_order_is_said_in_words_with_both_places(given, said):
    (name,) = given
    message = refusal(environ={variable_of(name): given[name]})
    assert message.startswith(said)
    assert f"{name}: environment {variable_of(name)}, " in message
    assert message.endswith(": default)")
    fields = {f"{each}_ms": resolve_ms(value) for each, value in given.items()}
    with pytest.raises(sk.errors.ConfigError, match="must be"):
        sk.EngineSettings(**fields)


def resolve_ms(value: str) -> int:
    return settings()["commit_interval"].read(value)


def test_orders_hold_at_their_bounds():
    assert sk.EngineSettings(commit_interval_ms=7_500).commit_interval_ms == 7_500
    assert sk.EngineSettings(transaction_timeout_ms=44_999).transaction_timeout_ms == 44_999
    assert sk.EngineSettings(session_timeout_ms=300_000).session_timeout_ms == 300_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"commit_interval_ms": "50ms"},
        {"max_records": True},
        {"max_records": 0},
        {"heartbeat_ms": 10**9},
        {"group_protocol": "eager"},
        {"static_membership": 1},
    ],
)
def test_engine_settings_are_of_their_types_and_in_range(wrong):
    with pytest.raises(sk.errors.ConfigError, match=next(iter(wrong))):
        sk.EngineSettings(**wrong)


# ---- secrets


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "sasl.pasword",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "my.token",
    ],
)
def test_secrets_are_neither_listed_nor_in_the_repr(name):
    found = resolve({f"kafka.{name}": SECRET}, environ={})
    assert is_secret(name)
    assert found.kafka[name] == SECRET
    assert SECRET not in repr(found)
    assert SECRET not in str(listing(found))
    assert (f"kafka.{name}", None, f"hidden; argument kafka.{name}") in listing(found)


@pytest.mark.parametrize("name", ["sasl.username", "security.protocol", "ssl.ca.location", "sasl.mechanism", "linger.ms"])
def test_what_helps_to_find_a_mistake_is_shown(name):
    assert not is_secret(name)


def test_every_field_of_the_engine_is_a_setting():
    of_engine = {setting.field for setting in settings().values() if setting.field}
    assert of_engine == {field.name for field in dataclasses.fields(sk.EngineSettings)}
