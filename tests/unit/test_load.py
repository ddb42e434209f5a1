"""Finding the app that a command names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.errors import ConfigError
from streamkit.load import load_app

ROOT = Path(__file__).resolve().parents[2]

SERVICE = """
import streamkit as sk

class Order(sk.Model):
    shop: str

class Holder:
    app = sk.App("held")

app = sk.App("orders")
app.stream(sk.Topic("orders", value=Order)).key_by("shop").to(sk.Topic("by-shop"))
number = 3

def make_app():
    return sk.App("made")

def make_nothing():
    return None

def needs(name):
    return sk.App(name)

def broken():
    raise RuntimeError("no such table")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a service, as the current one; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "orders_pkg").mkdir()
    (tmp_path / "orders_pkg" / "service.py").write_text(SERVICE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"orders_pkg", "service", "broken_service", "needy_service", "wrong_service"}:
            del sys.modules[name]


@pytest.mark.parametrize(
    "target,name",
    [
        ("orders_pkg.service", "orders"),
        ("orders_pkg.service:app", "orders"),
        ("orders_pkg.service:make_app", "made"),
        ("orders_pkg.service:Holder.app", "held"),
        ("orders_pkg/service.py", "orders"),
        ("orders_pkg/service.py:make_app", "made"),
        ("./orders_pkg/service.py", "orders"),
    ],
)
def test_an_app_is_found(here, target, name):
    assert load_app(target).name == name


def test_a_file_elsewhere_is_loaded_by_itself(here, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "service.py"
    elsewhere.write_text(SERVICE)
    assert load_app(f"{elsewhere}:app").name == "orders"


def test_a_path_and_a_module_name_are_the_same_module(here):
    assert load_app("orders_pkg/service.py") is load_app("orders_pkg.service:app")


@pytest.mark.parametrize(
    "target,said",
    [
        ("no_such_pkg.service:app", r"there is no module 'no_such_pkg' \(looked in "),
        ("orders_pkg.servic:app", "there is no module 'orders_pkg.servic'"),
        ("orders_pkg/servic.py", "there is no file 'orders_pkg/servic.py'"),
        (":app", "names no module"),
        ("orders_pkg.service:ap", "has no 'ap'; did you mean 'app'"),
        ("orders_pkg.service:Holder.ap", "has no 'ap'; did you mean 'app'"),
        ("orders_pkg.service:number", "is of type int, not a sk.App.*the module has these apps: app"),
        ("orders_pkg.service:Order", "is the class Order, not a sk.App"),
        ("orders_pkg.service:App", r"has no 'App'; did you mean 'app'\? There is: .*Holder, app, make_app"),
        (".", "'.' names no module; write module:app"),
        ("orders pkg:app", "'orders pkg:app' names no module"),
        ("README.md", "'README.md' is a file, but none of Python; write module:app"),
        (
            "orders_pkg.service:make_nothing",
            r"make_nothing\(\)' returns of type NoneType, not a sk.App|make_nothing\(\)' returns",
        ),
        ("orders_pkg.service:needs", r"needs arguments \(name\)"),
    ],
)
def test_the_error_says_what_is_wrong(here, target, said):
    (here / "README.md").write_text("no service")
    with pytest.raises(ConfigError, match=said):
        load_app(target)


def test_a_module_that_does_not_import_shows_its_cause(here):
    (here / "broken_service.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(
        ConfigError, match=r"'broken_service' does not import: ZeroDivisionError at \S*broken_service.py:2"
    ) as raised:
        load_app("broken_service:app")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_module_that_ends_the_process_is_an_error_with_its_place(here):
    """Else the command would end without a word, and with whatever exit code the module has chosen."""
    (here / "broken_service.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match=r"'broken_service.py' does not import: SystemExit at \S*broken_service.py:2: 3"):
        load_app("broken_service.py")


@pytest.mark.parametrize(
    "text,said",
    [
        (
            "import os\nimport streamkit as sk\nsales = sk.App('sales')\n",
            r"has no 'app'; there is: sales\. Name one, as in broken_service\.py:sales$",
        ),
        ("import os\nfrom pathlib import Path\n", "has no 'app'; it has no sk.App, and no function"),
        ("import streamkit as sk\napp = sk.App\n", "'broken_service.py:app' is the class App, not a sk.App"),
    ],
)
def test_a_module_without_an_app_is_shown_with_what_could_be_meant(here, text, said):
    (here / "broken_service.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_app("broken_service.py")


def test_a_missing_dependency_is_not_a_missing_service(here):
    (here / "needy_service.py").write_text("import no_such_library\n")
    with pytest.raises(
        ConfigError, match=r"does not import: ModuleNotFoundError at .*needy_service.py:1: No module named 'no_such_library'"
    ):
        load_app("needy_service")


def test_a_declaration_that_is_wrong_is_shown_as_it_is(here):
    (here / "wrong_service.py").write_text('import streamkit as sk\napp = sk.App("Not Kebab")\n')
    with pytest.raises(Exception, match="write it as 'not-kebab'"):
        load_app("wrong_service")


def test_an_error_of_a_factory_is_its_own(here):
    with pytest.raises(RuntimeError, match="no such table"):
        load_app("orders_pkg.service:broken")


def streamkit(*arguments, cwd):
    command = [sys.executable, "-m", "streamkit.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False, env=environment())


def environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}


def test_topology_prints_the_plan(here):
    done = streamkit("topology", "orders_pkg.service:app", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("app 'orders': 2 sub-topologies\n")
    drawn = streamkit("topology", "orders_pkg/service.py", "--mermaid", cwd=here)
    assert drawn.stdout.startswith("flowchart LR\n")


def test_an_error_is_a_line_and_not_a_traceback(here):
    done = streamkit("topology", "orders_pkg.service:make_app", cwd=here)
    assert done.returncode == 1
    assert done.stderr.startswith("error: app 'made' has no sinks")
    assert "Traceback" not in done.stderr


def test_help_needs_neither_kafka_nor_polars(here):
    code = (
        "import sys\nfrom streamkit.cli.main import commands\n"
        "try:\n    commands(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'polars', 'confluent_kafka', 'numpy', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, text=True, timeout=200, check=True, env=environment()
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "topology" in done.stdout
    assert "run" in done.stdout
