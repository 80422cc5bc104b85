"""The pages of Dagster behind a guard: `python -m pipelines.ui.dagster_server PORT WORKSPACE [--served]`.

Dagster's webserver runs in this process, so that no port leads around the guard. The code server listens on a socket
file that only this user may open; WORKSPACE is written once it does, and leads the daemon there. With `--served`
WORKSPACE is there already, and leads to a code server that others have started.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster
import yaml
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._cli.utils import get_instance_for_cli
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from radalign.serving.guard import serve
from store.atomic import write_text

DEFINITIONS = "workspace.yaml"
POLL_MILLISECONDS = 2000  # between two looks of a page at what has changed, as in `dagster dev`
PAGES = r"/((runs|assets|asset-groups|jobs|locations|overview|automation|deployment)(/.*)?)?"


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's own, except that a query stands in the body of a POST only, one in each."""

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Answer a query, or show the page on which to write one."""
        if request.method != "POST" and request.query_params:
            return PlainTextResponse("A query is sent as JSON, by POST.", status_code=405)
        if request.method == "POST" and not (await request.body()).lstrip().startswith(b"{"):
            return PlainTextResponse("A query is sent as one JSON object.", status_code=400)
        response: Response = await super().graphql_http_endpoint(request)
        return response


def main(arguments: Sequence[str]) -> None:
    """Serve until the process is asked to stop."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui.dagster_server", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--served", action="store_true", help="the code server runs already")
    options = parser.parse_args(arguments)
    with get_instance_for_cli() as instance:
        if options.served:
            _serve_pages(instance, options.workspace, options.port)
        else:
            with _code_server(instance, options.workspace):
                _serve_pages(instance, options.workspace, options.port)


@contextmanager
def _code_server(instance: dagster.DagsterInstance, workspace: Path) -> Iterator[None]:
    """A code server of one's own, to which `workspace` leads."""
    target = WorkspaceFileTarget([DEFINITIONS])
    with ProxyServerManager(instance, target, code_server_log_level="warning") as code:
        write_text(workspace, yaml.safe_dump({"load_from": code.get_code_server_specs()}))
        yield


def _serve_pages(instance: dagster.DagsterInstance, workspace: Path, port: int) -> None:
    target = WorkspaceFileTarget([str(workspace)])
    with WorkspaceProcessContext(instance, target, version=dagster.__version__) as context:
        serve(Webserver(context, live_data_poll_rate=POLL_MILLISECONDS).create_asgi_app(), port, PAGES)


if __name__ == "__main__":
    main(sys.argv[1:])
