"""`streamkit new`: a small project that runs and whose test passes, to begin with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from streamkit import __version__
from streamkit.errors import ConfigError

FILES = (
    "app.py",
    "test_app.py",
    "events.jsonl",
    "README.md",
    "streamkit.toml",
    "requirements.txt",
    "Dockerfile",
    "docker-compose.yml",
)


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the app: its consumer group. Lower-case words joined by dashes.")
    ],
    *,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Where to make it. Default: a new directory NAME here")
    ] = None,
) -> None:
    """Make a small project: a pipeline, its test, sample input, settings and an image. Files that exist are never overwritten."""
    from streamkit.plan.names import checked_name

    checked_name(name, what="the name of the app")
    place = Path(name) if directory is None else directory
    create(name, place)
    print(f"made {', '.join(FILES)} in {place}/\n\nNext:")
    if place.resolve() != Path.cwd():
        print(f"  cd {place}")
    print("  streamkit dev app.py --input events=events.jsonl   # the sample through the app, on an embedded broker")
    print("  pytest                                             # its test")
    print("  streamkit run app.py --create-topics 1             # on a Kafka")
    print("  docker compose up --build                          # two replicas in containers, and a Kafka")


def create(name: str, place: Path) -> None:
    """Writes the files, all or none. `ConfigError`: one of them is there already, or the directory cannot be made."""
    texts = {file: _text(file, name) for file in FILES}
    try:
        place.mkdir(parents=True, exist_ok=True)
        if there := [file for file in FILES if (place / file).exists()]:
            raise ConfigError(f"'{place}' has {', '.join(there)} already, and nothing is overwritten; choose another --directory")
        for file, text in texts.items():
            (place / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the project cannot be made in '{place}': {error.strerror or error}") from error


def _text(file: str, name: str) -> str:
    template = files("streamkit.cli").joinpath("templates", f"{file}.template").read_text(encoding="utf-8")
    return Template(template).substitute(name=name, version=__version__)
