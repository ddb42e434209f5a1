"""Options that several commands have: where the Kafka is, the configuration file, single settings."""

from __future__ import annotations

from collections.abc import Sequence

import typer

# The environment is read where settings are resolved, not by the option, so that `streamkit config` can say what came from it.
SERVERS = typer.Option(
    "--bootstrap-servers", help="Addresses of the Kafka cluster, as KAFKA_BOOTSTRAP_SERVERS. Default: localhost:9092"
)
CONFIG = typer.Option("--config", metavar="FILE", help="TOML file with settings. Default: STREAMKIT_CONFIG, else streamkit.toml")
SET = typer.Option("--set", metavar="NAME=VALUE", help="One setting, such as commit_interval=50ms. May be repeated.")


def assignments(given: Sequence[str] | None) -> dict[str, object]:
    """What ``--set`` says, by name. An error does not repeat the value: it may be a secret.

    >>> assignments(["commit_interval=50ms", "kafka.sasl.username=me=you"])
    {'commit_interval': '50ms', 'kafka.sasl.username': 'me=you'}
    """
    settings: dict[str, object] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(
                f"'{name.split(maxsplit=1)[0] if name.strip() else ''}' needs a value: write --set NAME=VALUE"
            )
        settings[name.strip()] = value.strip()
    return settings
