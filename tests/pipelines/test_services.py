"""The compose file and Dagster's settings for several people. `python -m benchmarks.cluster.services` runs them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli

from benchmarks.cluster import postgres
from benchmarks.cluster.services import DAGSTER_FOLDER, FOLDER, compose, interpolate
from pipelines.preflight.roots import VARIABLES
from tests.pipelines.instances import history
from tracking.places.postgres import HISTORY_VARIABLE

REQUIRED = re.compile(r"\$\{(\w+):\?")
SERVICES: dict[str, Any] = compose()["services"]
LASTING = sorted(SERVICES.keys() - {"bucket"})
PROGRAMS = {"dagster": create_dagster_cli(), "dagster-daemon": create_dagster_daemon_cli()}
PRINTED = [SERVICES[name]["command"] for name in SERVICES if "command" in SERVICES[name]]
PRINTED += [SERVICES[name]["healthcheck"]["test"][1:] for name in LASTING]


def test_every_required_variable_is_asked_for_and_none_has_a_value() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    given = dict(
        line.split("=", 1) for line in (FOLDER / ".env.example").read_text().splitlines() if line and line[0] != "#"
    )
    assert given == dict.fromkeys(REQUIRED.findall(text), "")
    with pytest.raises(KeyError, match=r"Set POSTGRES_PASSWORD in \.env"):
        interpolate(SERVICES["postgres"], {})
    secrets = ("PASSWORD", "SECRET", "ACCESS_KEY")
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            assert not any(word in name for word in secrets) or REQUIRED.match(str(value)), name


def test_images_have_versions_and_ports_are_those_of_this_machine() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":[\w.-]*\d", interpolate(service["image"], {})), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


@pytest.mark.parametrize("name", LASTING)
def test_every_service_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_services_wait_for_services_that_are_there() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == ("service_completed_successfully" if other == "bucket" else "service_healthy")
            assert other in SERVICES


@pytest.mark.parametrize("command", PRINTED, ids=" ".join)
def test_commands_and_their_options_are_known(command: list[str]) -> None:
    program, *arguments = [part.replace(DAGSTER_FOLDER, str(FOLDER)) for part in command]
    if program == "python" and arguments[0] == "-m":
        assert find_spec(arguments[1])
    elif program == "python":
        compile(arguments[1], "command", "exec")
    elif program in PROGRAMS:
        found: Any = PROGRAMS[program]
        while isinstance(found, click.Group):
            found, arguments = found.commands[arguments[0]], arguments[1:]
        found.make_context(program, list(arguments))


def test_variables_are_those_that_radalign_reads() -> None:
    names = {name for service in SERVICES.values() for name in service["environment"]}
    assert {name for name in names if name.startswith("RADALIGN_")} <= set(VARIABLES)


def test_the_workspace_leads_to_the_code_server() -> None:
    (entry,) = yaml.safe_load((FOLDER / "workspace.yaml").read_text())["load_from"]
    place, command = entry["grpc_server"], SERVICES["code"]["command"]
    assert place["host"] in SERVICES
    assert str(place["port"]) == command[command.index("--port") + 1]
    assert place["location_name"] == command[command.index("--location-name") + 1]


def test_the_settings_of_several_people_want_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(HISTORY_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as ended, history(FOLDER, tmp_path) as instance:
        instance.get_runs()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("RADALIGN_DATABASE is not set: name the PostgreSQL database")


@pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "PostgreSQL is here")
def test_the_settings_of_several_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.running(databases=("dagster",)) as server:
        monkeypatch.setenv(HISTORY_VARIABLE, server.url("dagster"))
        with history(FOLDER, tmp_path) as instance:
            assert instance.run_monitoring_enabled
            assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 8
            assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
            assert instance.get_runs() == []
            assert isinstance(instance, dg.DagsterInstance)
