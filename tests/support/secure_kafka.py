"""A local broker with a SASL_SSL listener and access control lists, beside the open listener that tests use for themselves.

    with SecureKafka({"alice": "secret"}) as kafka:
        kafka.secure         "127.0.0.1:40007": SASL_SSL, PLAIN and SCRAM-SHA-512
        kafka.ca             the certificate to trust
        kafka.bootstrap      the open listener; whoever comes by it may do everything
        kafka.allow("alice", ResourceType.TOPIC, "bids", AclOperation.READ)

Certificates are made anew in the broker's own directory and go with it. PLAIN users are known from the start; a SCRAM user is
added by `add_scram_user`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not say what they re-export
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tests.support.jvm import Report
from tests.support.local_kafka import LocalKafka, _free_ports, _silent

_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class SecureKafka(LocalKafka):
    """One node. Who comes by the secure listener may do only what an access control list allows."""

    def __init__(self, users: Mapping[str, str], *, report: Report = _silent) -> None:
        super().__init__(report=report)
        self._users = dict(users)
        self._port = 0
        make_certificates(self.directory)

    @property
    def secure(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def _write_configuration(self) -> None:
        super()._write_configuration()
        (self._port,) = _free_ports(1, self._ports)
        broker, controller = self._ports
        users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
        properties = {
            "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{self._port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker},SECURE://127.0.0.1:{self._port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.secure.plain.sasl.jaas.config": f"{_PLAIN} {users};",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": _SCRAM,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.directory / "keystore.pem"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # the broker itself, and tests
        }
        with self._properties_file(1).open("a") as file:  # of a name that comes twice Java takes the last
            file.writelines(f"{name}={value}\n" for name, value in properties.items())

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Lets the user do this with everything whose name begins so."""
        wanted = [
            AclBinding(kind, name, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for answer in admin.create_acls(wanted, request_timeout=20).values():
            answer.result(20)

    def add_scram_user(self, name: str, password: str) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        changes: list[UserScramCredentialAlteration] = [UserScramCredentialUpsertion(name, info, password.encode())]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for answer in admin.alter_user_scram_credentials(changes, request_timeout=20).values():
            answer.result(20)


def make_certificates(directory: Path) -> None:
    """`ca.pem`, and in `keystore.pem` a key and a certificate for this machine that it has signed. PEM goes straight into Kafka's
    configuration, without keytool; it reads PKCS#8 keys only."""
    (directory / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=test-ca",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=broker",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile san -out server.pem",
        "pkcs8 -topk8 -nocrypt -in server.key -out server.p8",
    ):
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True, timeout=60)
    parts = [(directory / name).read_text() for name in ("server.p8", "server.pem")]
    (directory / "keystore.pem").write_text("".join(parts))
