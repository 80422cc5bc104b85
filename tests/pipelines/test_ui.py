"""What pages of another origin get from the servers of `make ui`, asked with real requests: nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from pipelines.ui import __main__ as ui
from radalign.serving.guard import HOST
from store.code import ROOT

PATIENCE = 240
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SENTENCE = "Small left apical pneumothorax."
INSTANCE = """
telemetry: {{enabled: false}}
nux: {{enabled: false}}
storage: {{sqlite: {{base_dir: {home}}}}}
run_queue: {{max_concurrent_runs: 0}}
"""  # what is launched stays in the queue
SELECTOR = '{repositoryLocationName:"radalign",repositoryName:"__repository__",jobName:"ingest"}'
LAUNCH = f'mutation{{launchRun(executionParams:{{selector:{SELECTOR},runConfigData:"{{}}"}}){{__typename}}}}'
READ = '{assetOrError(assetKey:{path:["reports"]}){...on Asset{assetMaterializations(limit:1){metadataEntries{...on TextMetadataEntry{text}}}}}}'  # noqa: E501
FORM, PLAIN, JSON = "application/x-www-form-urlencoded", "text/plain", "application/json"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: str
    body: str

    def tells(self, text: str) -> bool:
        return text in self.headers + self.body


def send(port: int, request: bytes) -> Answer:
    """Send bytes as they are."""
    with socket.create_connection((HOST, port), timeout=60) as line:
        line.sendall(request)
        answer = b""
        while part := line.recv(65536):
            answer += part
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    return Answer(int(head.split()[1]), head.lower(), body)


def ask(
    port: int, method: str, target: str, headers: list[str], body: str = "", kind: str = "", version: str = "1.1"
) -> Answer:
    lines = [f"{method} {target} HTTP/{version}", *headers, "Connection: close"]
    lines += [f"Content-Type: {kind}"] if kind else []
    chunked = any("chunked" in header for header in headers)
    lines += [f"Content-Length: {len(body)}"] if not chunked and (body or method == "POST") else []
    body = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if chunked else body
    return send(port, "\r\n".join([*lines, "", body]).encode("latin-1"))


class Servers:
    """`make ui` on free ports, with a home and a history of its own."""

    def __init__(self, folder: Path) -> None:
        self.history = folder / "history"
        self.history.mkdir()
        (self.history / "dagster.yaml").write_text(INSTANCE.format(home=self.history))
        self.home = folder / "var"
        with self.instance() as instance:
            materialization = dg.AssetMaterialization("reports", metadata={"examples": SENTENCE})
            instance.report_runless_asset_event(materialization)
        self.dagster, self.mlflow = free_ports(2)
        command = ["--dagster-port", str(self.dagster), "--mlflow-port", str(self.mlflow)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.ui", *command],
            cwd=ROOT,
            env={**watched(), "DAGSTER_HOME": str(self.history), "RADALIGN_HOME": str(self.home)},
            start_new_session=True,
        )

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.history))

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        for port in (self.dagster, self.mlflow):
            while True:
                assert self.process.poll() is None
                assert time.monotonic() < end, "the servers do not start"
                with socket.socket() as probe:
                    if probe.connect_ex((HOST, port)) == 0:
                        break
                time.sleep(0.2)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def runs(self) -> int:
        with self.instance() as instance:
            return instance.get_runs_count()

    def own(self, port: int) -> list[str]:
        """What the user's own page sends."""
        return [f"Host: {HOST}:{port}", f"Origin: http://{HOST}:{port}", "Sec-Fetch-Site: same-origin"]

    def query(self, text: str) -> dict:
        answer = ask(self.dagster, "POST", "/graphql", self.own(self.dagster), json.dumps({"query": text}), JSON)
        assert answer.status == 200, answer
        return json.loads(answer.body)["data"]

    def mlflow_api(self, what: str, **fields: object) -> dict:
        target, own = f"/ajax-api/2.0/mlflow/{what}", self.own(self.mlflow)
        answer = ask(self.mlflow, "POST", target, own, json.dumps(fields), JSON)
        assert answer.status == 200, answer
        return json.loads(answer.body)


def watched() -> dict[str, str]:
    """The environment of a user: tests and CI turn telemetry off by themselves."""
    return {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")}


def free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("ui"))
    try:
        servers.wait()
        yield servers
    finally:
        started = descendants(servers.process.pid)
        assert servers.stop() == 0
        end = time.monotonic() + PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in started):  # code servers end a moment after what they serve
            assert time.monotonic() < end, "a process stays behind"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def mlflow_run(servers) -> str:
    """An MLflow run that holds a sentence as a tag and as an artifact."""
    [experiment] = [
        found["experiment_id"]
        for found in servers.mlflow_api("experiments/search", max_results=9)["experiments"]
        if found["name"] == "radalign"
    ]
    tags = [{"key": "note", "value": SENTENCE}]
    info = servers.mlflow_api("runs/create", experiment_id=experiment, tags=tags)["run"]["info"]
    folder = Path(info["artifact_uri"].removeprefix("file://"))
    folder.mkdir(parents=True)
    (folder / "note.txt").write_text(SENTENCE)
    return info["run_id"]


def strangers(port: int) -> dict[str, list[str]]:
    """The headers that mark a request as another page's, or that no page of ours would send."""
    own = f"{HOST}:{port}"
    hosts = (
        f"evil.example:{port}", "evil.example", f"{HOST}.evil.example:{port}", f"localhost.evil.example:{port}",
        f"0.0.0.0:{port}", f"[::1]:{port}", f"[::ffff:127.0.0.1]:{port}", f"127.1:{port}", f"localhost.:{port}",
        f"{HOST}:{port + 1}", HOST, f"{own}.evil.example", f"evil@{own}", f"{own}, evil.example", f"{own}/", "",
    )  # fmt: skip
    origins = (
        "http://evil.example", f"http://evil.example:{port}", "null", "", "file://", f"http://{HOST}:{port + 1}",
        f"http://{HOST}", f"https://{own}", f"http://localhost:{port}", f"http://{own}.evil.example",
        f"http://{own}@evil.example", f"http://evil@{own}", f"http://{own}/", f"http://{own} http://evil.example",
    )  # fmt: skip
    table = {f"host {host}": [f"Host: {host}"] for host in hosts}
    table |= {f"host and origin {host}": [f"Host: {host}", f"Origin: http://{host}"] for host in hosts if host}
    table |= {f"origin {origin}": [f"Host: {own}", f"Origin: {origin}"] for origin in origins}
    for site in ("cross-site", "same-site", "CROSS-SITE", "", "same-origin, cross-site"):
        table[f"site {site}"] = [f"Host: {own}", f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors"]
    table["link"] = [
        f"Host: {own}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
    ]  # fmt: skip
    table["frame"] = [*table["link"][:3], "Sec-Fetch-Dest: iframe"]
    table["no host"] = []
    table["two hosts"] = [f"Host: {own}", "Host: evil.example"]
    table["two hosts, foreign first"] = ["Host: evil.example", f"host: {own}"]
    table["two origins"] = [f"Host: {own}", f"Origin: http://{own}", "Origin: http://evil.example"]
    table["forwarded"] = ["Host: evil.example", f"X-Forwarded-Host: {own}", f"Forwarded: host={own}"]
    return table


def graphql_requests(query: str) -> dict[str, tuple[str, str, str, str]]:
    """Method, target, content type and body of every way to send a query."""
    asked, body = f"/graphql?query={quote(query)}", json.dumps({"query": query})
    multipart = f'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n{query}\r\n--x--\r\n'
    return {
        "GET": ("GET", asked, "", ""),
        "HEAD": ("HEAD", asked, "", ""),
        "GET with a body": ("GET", asked, JSON, body),
        "JSON": ("POST", "/graphql", JSON, body),
        "JSON in another spelling": ("POST", asked, "Application/JSON", body),
        "slashes": ("POST", "//graphql", JSON, body),
        "escaped": ("POST", "/%67raphql", JSON, body),
        "list": ("POST", "/graphql", JSON, f"[{body}]"),
        "form": ("POST", asked, FORM, f"query={quote(query)}"),
        "form with JSON": ("POST", asked, FORM, body),
        "plain": ("POST", asked, PLAIN, body),
        "plain that names JSON": ("POST", "/graphql", f"{PLAIN}; {JSON}", body),
        "JSON and plain": ("POST", "/graphql", f"{JSON}, {PLAIN}", body),
        "multipart": ("POST", asked, "multipart/form-data; boundary=x", multipart),
        "GraphQL": ("POST", "/graphql", "application/graphql", query),
        "no type": ("POST", asked, "", ""),
        **{method: (method, asked, JSON, body) for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")},
    }


def targets(query: str) -> dict[str, tuple[str, str, str, str]]:
    """The above, and the other paths that tell or change something."""
    event = '{"metadata":{"a":"b"}}'
    return {
        **graphql_requests(query),
        "report": ("POST", "/report_asset_materialization/reports", JSON, event),
        "report in a form": ("POST", "/report_asset_materialization/reports?metadata=%7B%7D", FORM, "a=b"),
        "logs": ("GET", "/logs/a/b.out", "", ""),
        "debug": ("GET", "/download_debug/1", "", ""),
    }


def test_two_ports_are_open_and_the_socket_files_are_the_users(servers):
    inodes = {inode for pid in descendants(servers.process.pid) for inode in open_sockets(pid)}
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert sorted(listening) == sorted(f"0100007F:{port:04X}" for port in (servers.dagster, servers.mlflow))
    servers.query("{repositoriesOrError{__typename}}")
    files = [
        row[7]
        for row in map(str.split, Path("/proc/net/unix").read_text().splitlines()[1:])
        if row[6] in inodes and len(row) > 7
    ]
    assert all(not Path(file).stat().st_mode & 0o022 for file in files if not file.startswith("@"))


def test_dagster_answers_no_stranger(servers):
    before = servers.runs()
    reading = {f"read by {way}": request for way, request in graphql_requests(READ).items() if way in ("GET", "JSON")}
    wrong = []
    for who, headers in strangers(servers.dagster).items():
        for way, (method, target, kind, body) in {**targets(LAUNCH), **reading}.items():
            answer = ask(servers.dagster, method, target, headers, body, kind)
            if not 400 <= answer.status < 500 or answer.tells("apical") or answer.tells("assetOrError"):
                wrong.append((who, way, answer.status))
    assert not wrong
    assert servers.runs() == before


@pytest.mark.parametrize("headers", [["X-HTTP-Method-Override: POST"], ["X-HTTP-Method: POST"], ["Origin: null"]])
def test_no_header_replaces_the_method(servers, headers):
    before = servers.runs()
    for method, target, kind, body in targets(LAUNCH).values():
        own = [*servers.own(servers.dagster)[:1], *headers]
        assert 400 <= ask(servers.dagster, method, target, own, body, kind).status < 500
    assert servers.runs() == before


def test_first_lines_and_versions_that_no_browser_sends(servers):
    before, own, body = servers.runs(), servers.own(servers.dagster), json.dumps({"query": LAUNCH})
    for target in ("http://evil.example/graphql", f"http://{HOST}:{servers.dagster}/graphql", "graphql", "*"):
        assert 400 <= ask(servers.dagster, "POST", target, own, body, JSON).status < 500, target
    assert ask(servers.dagster, "POST", "/graphql", [], body, JSON, version="1.0").status == 403
    twice = [*own, "Content-Type: text/plain"]
    assert ask(servers.dagster, "POST", "/graphql", twice, body, JSON).status == 403
    chunked = ["Host: evil.example", "Transfer-Encoding: chunked"]
    assert ask(servers.dagster, "POST", "/graphql", chunked, body, JSON).status == 403
    assert servers.runs() == before


def test_the_users_own_page_launches_only_by_json(servers):
    own = servers.own(servers.dagster)
    before = servers.runs()
    for way, (method, target, kind, body) in graphql_requests(LAUNCH).items():
        if way not in ("JSON", "escaped"):
            answer = ask(servers.dagster, method, target, own, body, kind)
            assert 400 <= answer.status < 500, (way, answer)
    for trick in ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}}, {"query": [LAUNCH]}):
        ask(servers.dagster, "POST", f"/graphql?query={quote(LAUNCH)}", own, json.dumps(trick), JSON)
    assert servers.runs() == before
    assert servers.query(LAUNCH) == {"launchRun": {"__typename": "LaunchRunSuccess"}}
    assert servers.runs() == before + 1
    program = [f"Host: localhost:{servers.dagster}", "Transfer-Encoding: chunked"]
    assert ask(servers.dagster, "POST", "/graphql", program, json.dumps({"query": LAUNCH}), JSON).status == 200
    assert servers.runs() == before + 2


def test_the_users_own_page_reads(servers):
    assert SENTENCE in json.dumps(servers.query(READ))
    own = servers.own(servers.dagster)
    assert "Dagster" in ask(servers.dagster, "GET", "/runs", own).body
    assert "GraphiQL" in ask(servers.dagster, "GET", "/graphql", [*own, "Accept: text/html"]).body
    assert ask(servers.dagster, "GET", "/vendor/graphiql/graphiql.min.css", own).status == 200
    typed = [own[0], "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]
    assert ask(servers.dagster, "GET", "/assets/reports", typed).status == 200


def test_a_link_leads_to_a_page_but_to_no_data(servers):
    for port, page in ((servers.dagster, "/runs/1"), (servers.mlflow, "/")):
        link = strangers(port)["link"]
        assert ask(port, "GET", page, link).status == 200
        assert ask(port, "GET", page, strangers(port)["frame"]).status == 403


def test_the_daemon_works(servers):
    statuses = "{instance{daemonHealth{allDaemonStatuses{daemonType required healthy}}}}"
    end = time.monotonic() + PATIENCE
    while True:
        found = servers.query(statuses)["instance"]["daemonHealth"]["allDaemonStatuses"]
        unwell = [daemon["daemonType"] for daemon in found if daemon["required"] and not daemon["healthy"]]
        if not unwell:
            break
        assert time.monotonic() < end, unwell
        time.sleep(0.5)
    assert {"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR"} <= {daemon["daemonType"] for daemon in found}


def open_socket(port: int, headers: list[str]):
    """A websocket for which only these headers say who asks."""
    extra = dict(header.split(": ", 1) for header in headers if not header.lower().startswith("host:"))
    return connect(
        f"ws://{HOST}:{port}/graphql",
        additional_headers=extra,
        subprotocols=["graphql-ws"],
        open_timeout=60,
        proxy=None,
    )


def test_a_websocket_is_opened_for_the_users_own_page(servers):
    servers.query(LAUNCH)
    run = servers.query("{runsOrError(limit:1){...on Runs{results{runId}}}}")["runsOrError"]["results"][0]["runId"]
    events = "...on PipelineRunLogsSubscriptionSuccess{messages{__typename}}"
    logs = f'subscription{{pipelineRunLogs(runId:"{run}"){{{events}}}}}'
    before = servers.runs()
    with open_socket(servers.dagster, servers.own(servers.dagster)) as line:
        line.send(json.dumps({"type": "connection_init"}))
        assert json.loads(line.recv(60))["type"] == "connection_ack"
        line.send(json.dumps({"type": "start", "id": "1", "payload": {"query": logs}}))
        assert "RunEnqueuedEvent" in str(line.recv(60))
        line.send(json.dumps({"type": "start", "id": "2", "payload": {"query": LAUNCH}}))
        assert json.loads(line.recv(60))["type"] == "error"
    assert servers.runs() == before


@pytest.mark.parametrize("server", ["dagster", "mlflow"])
def test_a_websocket_is_opened_for_no_stranger(servers, server):
    port = getattr(servers, server)
    handshake = [
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: graphql-ws", "Connection: Upgrade",
    ]  # fmt: skip
    for who, headers in strangers(port).items():
        answer = send(port, "\r\n".join(["GET /graphql HTTP/1.1", *headers, *handshake, "", ""]).encode("latin-1"))
        assert 400 <= answer.status < 500, who
    with pytest.raises(InvalidHandshake):
        open_socket(port, ["Origin: http://evil.example"])


def mlflow_requests(run: str) -> dict[str, tuple[str, str, str, str]]:
    create = json.dumps({"experiment_id": "0"})
    query = f'query{{mlflowGetRun(input:{{runId:"{run}"}}){{run{{data{{tags{{key value}}}}}}}}}}'
    table = {}
    for api in ("api", "ajax-api"):
        mlflow = f"/{api}/2.0/mlflow"
        table |= {
            f"{api} get": ("GET", f"{mlflow}/runs/get?run_id={run}", "", ""),
            f"{api} search": ("POST", f"{mlflow}/runs/search", JSON, '{"experiment_ids":["0","1"]}'),
            f"{api} create": ("POST", f"{mlflow}/runs/create", JSON, create),
            f"{api} create in a form": ("POST", f"{mlflow}/runs/create", FORM, create),
            f"{api} create as plain text": ("POST", f"{mlflow}/runs/create", PLAIN, create),
            f"{api} artifacts": ("GET", f"{mlflow}/artifacts/list?run_id={run}", "", ""),
            f"{api} stored": ("PUT", f"/{api}/2.0/mlflow-artifacts/artifacts/a.txt", PLAIN, SENTENCE),
            f"{api} preflight": ("OPTIONS", f"{mlflow}/runs/create", "", ""),
            f"{api} assistant": ("GET", f"/{api}/3.0/mlflow/assistant/config", "", ""),
        }
    return {
        **table,
        "graphql": ("POST", "/graphql", JSON, json.dumps({"query": query})),
        "artifact": ("GET", f"/get-artifact?path=note.txt&run_uuid={run}", "", ""),
        "page": ("GET", "/index.html", "", ""),
        "version": ("GET", "/version", "", ""),
        "health": ("GET", "/health", "", ""),
    }


def test_mlflow_answers_no_stranger(servers, mlflow_run):
    before = servers.mlflow_api("runs/search", experiment_ids=["0", "1"])["runs"]
    wrong = []
    for who, headers in strangers(servers.mlflow).items():
        for way, (method, target, kind, body) in mlflow_requests(mlflow_run).items():
            answer = ask(servers.mlflow, method, target, headers, body, kind)
            allowed = answer.tells("access-control-allow-origin")
            if not 400 <= answer.status < 500 or answer.tells("apical") or allowed:
                wrong.append((who, way, answer.status))
    assert not wrong
    assert servers.mlflow_api("runs/search", experiment_ids=["0", "1"])["runs"] == before


def test_mlflow_serves_the_users_own_page(servers, mlflow_run):
    own = servers.own(servers.mlflow)
    assert "<title>MLflow</title>" in ask(servers.mlflow, "GET", "/", own).body
    for way in ("ajax-api get", "ajax-api search", "graphql", "artifact"):
        method, target, kind, body = mlflow_requests(mlflow_run)[way]
        answer = ask(servers.mlflow, method, target, own, body, kind)
        assert answer.status == 200, way
        assert answer.tells("apical"), way


@pytest.mark.parametrize(
    "path",
    ["../../../mlflow.db", "..%2f..%2f..%2fmlflow.db", "%252e%252e/mlflow.db", "/etc/passwd", "a/../../../b", ".."],
)
def test_mlflow_gives_no_file_outside_a_run(servers, mlflow_run, path):
    own = servers.own(servers.mlflow)
    for target in (
        f"/get-artifact?path={path}&run_uuid={mlflow_run}",
        f"/ajax-api/2.0/mlflow/artifacts/list?path={path}&run_id={mlflow_run}",
        f"/ajax-api/2.0/mlflow-artifacts/artifacts/{path}",
        f"/static-files/{path}",
    ):
        answer = ask(servers.mlflow, "GET", target, own)
        assert answer.status >= 300, target  # also a redirect to a path that is refused
        assert not answer.tells("SQLite")
        assert not answer.tells("root:")


@pytest.mark.parametrize("path", ["../../../etc/passwd", "..%2f..%2fdagster.yaml", "%2e%2e/%2e%2e/dagster.yaml"])
def test_dagster_gives_no_file_outside_its_logs(servers, path):
    answer = ask(servers.dagster, "GET", f"/logs/{path}", servers.own(servers.dagster))
    assert answer.status >= 400
    assert not answer.tells("root:")
    assert not answer.tells("telemetry")


def test_answers_may_not_be_framed_or_loaded_by_other_pages(servers):
    for port in (servers.dagster, servers.mlflow):
        for headers in (servers.own(port), ["Host: evil.example"]):
            found = ask(port, "GET", "/", headers).headers
            assert "x-frame-options: sameorigin" in found
            assert "frame-ancestors 'self'" in found
            assert "cross-origin-resource-policy: same-origin" in found
            assert "access-control-allow" not in found


def test_the_assistant_of_mlflow_answers_nobody(servers):
    own = servers.own(servers.mlflow)
    for api in ("api", "ajax-api"):
        for method, what in (("GET", "config"), ("PUT", "config"), ("POST", "message")):
            answer = ask(servers.mlflow, method, f"/{api}/3.0/mlflow/assistant/{what}", own, "{}", JSON)
            assert (answer.status, answer.body) == (404, "The assistant of MLflow is off here.")


def test_the_pages_tell_nobody_what_the_user_does(servers):
    target, own = "/ajax-api/3.0/mlflow/ui-telemetry", servers.own(servers.mlflow)
    assert json.loads(ask(servers.mlflow, "GET", target, own).body)["disable_ui_telemetry"] is True
    assert '"telemetryEnabled": false' in ask(servers.dagster, "GET", "/runs", servers.own(servers.dagster)).body


@pytest.mark.skipif(not BROWSER, reason="no chromium to look at the page with")
def test_mlflow_opens_on_the_trainings(servers, mlflow_run, tmp_path):
    servers.mlflow_api("runs/log-metric", run_id=mlflow_run, key="loss/train", value=0.5, timestamp=1, step=1)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", "--timeout=60000"]
    command = [BROWSER, *options, f"--user-data-dir={tmp_path}", "--dump-dom", f"http://{HOST}:{servers.mlflow}/"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert "One run for every training of Radalign" in page
    assert ">loss/train<" in page  # the name of a column
    assert ">Model registry<" in page
    assert ">Prompts<" not in page
    assert "UI telemetry" not in page


def test_a_port_in_use_is_named(servers):
    environment = {**os.environ, "RADALIGN_MLFLOW_PORT": str(servers.mlflow)}
    for arguments, port in ([["--dagster-port", str(servers.dagster)], servers.dagster], [[], servers.mlflow]):
        command = [sys.executable, "-m", "pipelines.ui", *arguments]
        free = ["--dagster-port", str(free_ports(1)[0])] if not arguments else []
        found = subprocess.run(
            [*command, *free], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert found.returncode == 2
        assert f"port {port} is in use" in found.stderr


@pytest.mark.parametrize(
    ("ports", "sentence"),
    [
        (["--mlflow-port", "65536"], "port 65536 is not between 1 and 65535"),
        (["--dagster-port", "0"], "port 0 is not between 1 and 65535"),
        (["--dagster-port", "x"], "invalid int value: 'x'"),
        (["--dagster-port", "{free}", "--mlflow-port", "{free}"], "need a port each"),
    ],
)
def test_a_port_that_cannot_be_used_is_refused_in_a_sentence(ports, sentence, capsys):
    free = str(free_ports(1)[0])
    with pytest.raises(SystemExit):
        ui.main([part.format(free=free) for part in ports])
    assert sentence in capsys.readouterr().err


FAILING = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.exit(3)"
LASTING = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"


def test_a_server_that_fails_leaves_nothing_behind(monkeypatch, tmp_path, capsys):
    """Neither the other server, which does not stop when it is asked to, nor what the failed one has started."""
    started = []

    def start(module, *arguments):
        code = LASTING if "dagster" in module else FAILING
        server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        started.append(server)
        return server

    monkeypatch.setattr(ui, "_start", start)
    monkeypatch.setattr(ui, "STOP_SECONDS", 0.2)
    handlers = {wish: signal.getsignal(wish) for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        assert ui._serve({"dagster": 1, "mlflow": 2}, tmp_path / "none") == 1
    finally:
        for wish, handler in handlers.items():
            signal.signal(wish, handler)
    assert "MLflow has ended with status 3, so everything is stopped." in capsys.readouterr().out
    child = int(started[1].stdout.read())
    wait_for_end([*(server.pid for server in started), child])


def test_the_servers_end_when_their_parent_is_killed():
    port = free_ports(1)[0]
    code = (
        "import time; from pipelines.ui.__main__ import _start\n"
        f"print(_start('http.server', '{port}', '--bind', '{HOST}').pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    server = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for_end([server])


def wait_for_end(processes: list[int]) -> None:
    end = time.monotonic() + PATIENCE
    while left := [pid for pid in processes if is_running(pid)]:
        assert time.monotonic() < end, f"the processes {left} stay behind"
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """The processes below one, by the parents that /proc names."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def open_sockets(pid: int) -> list[str]:
    links = (os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink())
    return [link[len("socket:[") : -1] for link in links if link.startswith("socket:[")]
