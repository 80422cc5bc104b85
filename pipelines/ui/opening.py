"""Lets MLflow open on the trainings: its start page is for prompts and traces, and opens an assistant.

MLflow keeps such choices in the browser. The page that it sends is given ours where the user has made none. The
assistant can run commands on this machine, so it is not only hidden but does not answer.
"""

from __future__ import annotations

import json
import re

from starlette.responses import HTMLResponse, PlainTextResponse

from radalign.serving.guard import Application, Message, Receive, Send
from tracking.layout import COLUMNS, runs_page

ENTRY = ("", "#", "#/")  # addresses that name no page of MLflow
PAGES = ("/", "/index.html")
ASSISTANT = re.compile(r"/(ajax-)?api/[\d.]+/mlflow/assistant(/|$)")
OFF = "The assistant of MLflow is off here."
VIEW = 'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState'
CHOICES = {  # in MLflow's spelling: name, `_v` and version
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.settings.telemetry.enabled_v1": False,
    "mlflow.telemetry.info.alert.dismissed_v1": True,
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
}
HEAD = """<style>[data-assistant-ui] {{ display: none !important }}</style><script>
for (const [name, value] of Object.entries({choices}))
  if (localStorage.getItem(name) === null) localStorage.setItem(name, JSON.stringify(value));
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
if ({entry}.includes(location.hash)) location.replace("#" + {start});
</script>"""


class Opening:
    """An ASGI application in front of MLflow's."""

    def __init__(self, application: Application, page: str, experiment: str) -> None:
        """`page` is MLflow's own; `experiment` holds the trainings."""
        self._application = application
        choices = {**CHOICES, VIEW.format(experiment=experiment): {"selectedColumns": COLUMNS}}
        values = {"choices": choices, "entry": ENTRY, "start": runs_page(experiment)}
        head = HEAD.format(**{name: _script(value) for name, value in values.items()})
        self._page = page.replace("<head>", f"<head>{head}", 1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if ASSISTANT.match(path):
            await PlainTextResponse(OFF, 404)(scope, receive, send)
        elif path in PAGES and scope["method"] in ("GET", "HEAD"):
            await HTMLResponse(self._page)(scope, receive, send)
        else:
            await self._application(scope, receive, send)


def _script(value: object) -> str:
    """A value as it may stand in a script of a page."""
    return json.dumps(value).replace("<", "\\u003c")
