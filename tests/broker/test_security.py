"""SASL_SSL and access control lists on a real broker: the service runs, or says within seconds what keeps it out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

import streamkit as sk
from services.bids.app import TOPICS
from services.bids.demo import SAMPLE, table
from tests.services.conftest import TABLE, create, delete
from tests.services.test_command_line import send
from tests.support.secure_kafka import SecureKafka, make_certificates

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
STREAMKIT = str(Path(sys.executable).with_name("streamkit"))
APP = "services.bids.app:app"
PASSWORD = "s3cret-of-all"
TOPIC, GROUP, TRANSACTIONS = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
Op = AclOperation

# What docs/reference/security.md says that an app needs: kind, prefix of the names, operations.
GRANTS = {
    "source": (TOPIC, "bids", (Op.READ, Op.DESCRIBE_CONFIGS)),
    "sink": (TOPIC, "bid-", (Op.WRITE, Op.DESCRIBE_CONFIGS)),
    "internal": (TOPIC, "bids.", (Op.CREATE, Op.READ, Op.WRITE, Op.DELETE, Op.DESCRIBE_CONFIGS)),
    "group": (GROUP, "bids", (Op.READ,)),
    "transactions": (TRANSACTIONS, "bids-", (Op.WRITE,)),
}
# Without this grant: what the error names.
REFUSALS = {
    "source": "DESCRIBE on topic 'bids'",
    "sink": "DESCRIBE on topic 'bid-totals'",
    "internal": "CREATE on topic 'bids.",
    "group": "READ on group 'bids'",
    "transactions": "WRITE on transactional id 'bids-here-0'",
}
# Without this operation, though with DESCRIBE, which it includes.
SOME_OPERATION_MISSING = {
    ("source", Op.READ): "READ on topic 'bids'",
    ("sink", Op.WRITE): "WRITE on topic 'bid-",
    ("sink", Op.DESCRIBE_CONFIGS): "DESCRIBE_CONFIGS on topic 'bid-totals'",
}


def user_without(missing: object) -> str:
    return "no-" + "-".join(str(part) for part in (missing if isinstance(missing, tuple) else (missing,))).replace(".", "-")


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecureKafka]:
    missing = [*REFUSALS, *SOME_OPERATION_MISSING, ("internal", Op.DELETE)]
    users = ["alice", "mallory", *map(user_without, missing)]
    with SecureKafka(dict.fromkeys(users, PASSWORD)) as kafka:
        kafka.add_scram_user("sam", PASSWORD)
        for name, (kind, prefix, operations) in GRANTS.items():
            for user in users:
                if user not in ("mallory", user_without(name)):
                    left = [one for one in operations if user != user_without((name, one))]
                    kafka.allow(user, kind, prefix, *(left if left == list(operations) else [*left, Op.DESCRIBE]))
            kafka.allow("sam", kind, prefix, *operations)
        yield kafka


@pytest.fixture
def bids(kafka: SecureKafka) -> Iterator[sk.Broker]:
    broker = sk.Broker.at(kafka.bootstrap)
    create(broker, TOPICS)
    yield broker
    delete(broker, "bids", TOPICS)


class Done:
    """One command that has ended; whatever it wrote was looked through for the secret."""

    def __init__(self, kafka: SecureKafka, *command: str, user: str = "alice", **settings: str) -> None:
        wanted = {"SASL_USERNAME": user, "SASL_PASSWORD": PASSWORD, "SASL_MECHANISM": "PLAIN", "SECURITY_PROTOCOL": "SASL_SSL"}
        wanted |= {"SSL_CA_LOCATION": str(kafka.ca), "BOOTSTRAP_SERVERS": kafka.secure} | settings
        variables = {f"STREAMKIT_KAFKA__{name}": value for name, value in wanted.items()}
        started = time.monotonic()
        done = subprocess.run(
            [STREAMKIT, *command], cwd=ROOT, env=environment(variables), capture_output=True, text=True, timeout=90, check=False
        )
        self.seconds = time.monotonic() - started
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.error = next((line for line in self.err.splitlines() if line.startswith("error: ")), "")
        for secret in {PASSWORD, wanted["SASL_PASSWORD"]} - {""}:
            assert secret not in self.out + self.err


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKIT_", "KAFKA_"))}
    return {**clean, "STREAMKIT_INSTANCE_ID": "here", "NO_COLOR": "1", "COLUMNS": "300", **variables}


def rows(broker: sk.Broker) -> list[str]:
    return table([record.value for record in broker.read(TOPICS.totals)]).splitlines()


@pytest.mark.parametrize("user,mechanism", [("alice", "PLAIN"), ("sam", "SCRAM-SHA-512")])
def test_the_service_runs_over_sasl_ssl(kafka, bids, user, mechanism):
    send(kafka.bootstrap, SAMPLE)
    done = Done(kafka, "run", APP, "--until-end", user=user, SASL_MECHANISM=mechanism)
    assert done.code == 0, done.err
    assert rows(bids) == TABLE.splitlines()


def test_settings_from_a_file_with_the_password_from_the_environment(kafka, bids, tmp_path):
    send(kafka.bootstrap, SAMPLE)
    file = tmp_path / "streamkit.toml"
    file.write_text(
        f'[kafka]\nbootstrap.servers = "{kafka.secure}"\nsecurity.protocol = "SASL_SSL"\nsasl.mechanism = "PLAIN"\n'
        f'sasl.username = "alice"\nssl.ca.location = "{kafka.ca}"\n'
    )
    command = [STREAMKIT, "run", APP, "--until-end", "--config", str(file)]
    password = environment({"STREAMKIT_KAFKA__SASL_PASSWORD": PASSWORD})
    done = subprocess.run(command, cwd=ROOT, env=password, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert rows(bids) == TABLE.splitlines()
    assert PASSWORD not in done.stdout + done.stderr


def test_no_secret_is_shown_however_much_is_asked_for(kafka, bids):
    done = Done(kafka, "config", APP)
    assert done.code == 0, done.err
    assert "sasl.username" in done.out
    loud = Done(kafka, "run", APP, "--until-end", "--set", "log_level=DEBUG", DEBUG="all")
    assert loud.code == 0, loud.err[-3000:]
    assert "sasl.username" in loud.err  # librdkafka does list its configuration there


# ---- kept out


@pytest.mark.parametrize(
    "settings,says",
    [
        ({"SASL_PASSWORD": "wr0ng-secret"}, ["_AUTHENTICATION", "Invalid username or password", "check kafka.sasl.username"]),
        ({"SASL_USERNAME": "nobody"}, ["_AUTHENTICATION", "check kafka.sasl.username, kafka.sasl.password"]),
        (
            {"SASL_MECHANISM": "SCRAM-SHA-512", "SASL_PASSWORD": "wr0ng-secret"},
            ["_AUTHENTICATION", "check kafka.sasl.username, kafka.sasl.password"],
        ),
        ({"SASL_MECHANISM": "SCRAM-SHA-256"}, ["mechanism", "kafka.sasl.mechanism"]),
        ({"SSL_CA_LOCATION": "{other}"}, ["_SSL", "certificate verify failed", "check kafka.ssl.ca.location"]),
    ],
    ids=["password", "user", "scram-password", "mechanism", "authority"],
)
def test_a_client_that_is_not_let_in_says_why_and_what_to_check(kafka, tmp_path, settings, says):
    make_certificates(tmp_path)
    other = {name: value.format(other=tmp_path / "ca.pem") for name, value in settings.items()}
    done = Done(kafka, "run", APP, **other)
    assert done.error.startswith("error: the cluster refuses this client"), done.err
    for text in says:
        assert text in done.error
    assert done.code == 4
    assert done.seconds < 25  # with the start of the process, on a busy machine; start_timeout is 30
    assert "Traceback" not in done.err
    assert "caused by" not in done.err


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_listener_that_wants_tls_is_guessed(kafka, protocol):
    done = Done(kafka, "run", APP, "--set", "start_timeout=3s", SECURITY_PROTOCOL=protocol)
    assert done.error.startswith("error: no Kafka broker answered at 127.0.0.1"), done.err
    assert "the listener may want TLS: check kafka.security.protocol" in done.error


def test_tls_to_an_open_listener_is_guessed(kafka):
    done = Done(kafka, "run", APP, "--set", "start_timeout=3s", BOOTSTRAP_SERVERS=kafka.bootstrap)
    assert done.error.startswith("error: no Kafka broker answered at 127.0.0.1"), done.err
    assert "the listener may not speak TLS: check kafka.security.protocol" in done.error
    assert done.code == 3


# ---- let in, but not allowed


def test_who_may_do_nothing_is_told_the_first_thing_that_is_missing(kafka, bids):
    done = Done(kafka, "run", APP, user="mallory")
    assert "not allowed: DESCRIBE on topic" in done.error, done.err
    assert "TOPIC_AUTHORIZATION_FAILED" in done.error


@pytest.mark.parametrize("missing", [*REFUSALS, *SOME_OPERATION_MISSING], ids=user_without)
def test_a_missing_grant_is_named_with_resource_and_operation(kafka, bids, missing):
    send(kafka.bootstrap, SAMPLE)
    done = Done(kafka, "run", APP, "--until-end", user=user_without(missing))
    expected = REFUSALS[missing] if isinstance(missing, str) else SOME_OPERATION_MISSING[missing]
    assert f"not allowed: {expected}" in done.error, done.err
    assert done.code == 4
    assert done.seconds < 30


def test_records_may_be_processed_without_the_right_to_delete_them(kafka, bids):
    """DELETE is for purging the app's own topics, on which nothing depends."""
    send(kafka.bootstrap, SAMPLE)
    done = Done(kafka, "run", APP, "--until-end", "--set", "purge_interval=0ms", user=user_without(("internal", Op.DELETE)))
    assert done.code == 0, done.err
    assert '"event": "purge-failed"' in done.err
    assert "not allowed: DELETE on bids." in done.err
    assert rows(bids) == TABLE.splitlines()
