"""An S3-compatible server of one's own, and a proxy before it that makes faults, for tests and benchmarks.

    with object_store.running() as store:                  # a process of its own, with an empty bucket
        os.environ |= store.environment()                  # AWS_ENDPOINT_URL and credentials
        store.url("lab")                                   # s3://radalign/lab
        with store.faulty(slow_down=0.2) as proxy:         # another process; proxy.environment() leads through it
            proxy.set(half_close=0.1, delay=0.05)          # at any time
            proxy.set()                                    # no faults

The server is moto's, with two additions: conditional writes are atomic, and a request with other credentials than its
own is refused. Both processes listen on one address and end with the thread that started them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from store.processes import end_with_parent

CHECKOUT = Path(__file__).resolve().parents[2]
BUCKET, KEY, SECRET, REGION = "radalign", "radalign-key", "radalign-secret", "us-east-1"
START_SECONDS, STOP_SECONDS = 60.0, 5.0
LEAST_HALVED = 256  # bytes: a shorter body is sent whole
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def missing() -> str:
    """Why there can be no server here, in one sentence; empty where there can be."""
    try:
        import moto.server  # noqa: F401
    except ImportError:
        return "moto is not installed here: pip install 'moto[s3,server]'."
    return ""


@dataclass(frozen=True)
class Faults:
    """How often something goes wrong, as shares of the requests from 0 to 1, and how long each takes longer."""

    slow_down: float = 0.0  # answered 503 SlowDown, without effect
    half_close: float = 0.0  # the connection is closed half way through the longer body, of request or answer
    lost_reply: float = 0.0  # the request has its effect, and the connection is closed before the answer
    delay: float = 0.0  # seconds before each request is passed on
    cut: bool = False  # nothing is answered at all


class Endpoint:
    """A process that speaks S3 at `address`, such as http://127.0.0.1:4711."""

    def __init__(self, process: subprocess.Popen[str], address: str, launch: Sequence[str]) -> None:
        self.process, self.address = process, address
        self._launch = launch

    def environment(self) -> dict[str, str]:
        """The variables with which S3 clients find it."""
        own = {"AWS_ENDPOINT_URL": self.address, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        return {**own, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}

    def url(self, prefix: str = "home", bucket: str = BUCKET) -> str:
        """The address of a home: s3://radalign/home."""
        return f"s3://{bucket}/{prefix}"


class Store(Endpoint):
    """The server itself. `running` makes one."""

    @contextmanager
    def faulty(self, address: str = "127.0.0.1", seed: int = 0, **faults: Any) -> Iterator[Proxy]:
        """A proxy before the server, on a free port of `address`, with `Faults` at first."""
        options = [f"--upstream={self.address}", f"--seed={seed}"]
        with _process("proxy", address, 0, self._launch, options) as (process, url):
            proxy = Proxy(process, url, self._launch)
            proxy.set(**faults)
            yield proxy


class Proxy(Endpoint):
    """A way to the server on which faults happen."""

    def set(self, **faults: Any) -> None:
        """Have these `Faults` from now on, and no others."""
        self._ask(asdict(Faults(**faults)))

    def counts(self) -> dict[str, int]:
        """How many requests came, and how many met each fault."""
        counts: dict[str, int] = self._ask({"counts": True})
        return counts

    def _ask(self, message: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def running(address: str = "127.0.0.1", port: int = 0, launch: Sequence[str] = ()) -> Iterator[Store]:
    """A new server with an empty bucket BUCKET; what it stored is gone afterwards.

    Args:
        address: where it listens, such as the address of a simulated host.
        port: 0 is a free one.
        launch: what comes before the command, such as `["ip", "netns", "exec", NAME]`.
    """
    if reason := missing():
        raise RuntimeError(reason)
    with _process("serve", address, port, launch) as (process, url):
        yield Store(process, url, launch)


@contextmanager
def _process(
    role: str, address: str, port: int, launch: Sequence[str], options: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of this module, and its URL, which it prints when it listens."""
    command = [*launch, sys.executable, "-m", "benchmarks.cluster.object_store", role]
    process = subprocess.Popen(
        [*command, f"--address={address}", f"--port={port}", *options],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the {role} of the object store did not start on {address}:{port}")
        yield process, url
    finally:
        process.kill()
        process.communicate(timeout=STOP_SECONDS)


# --- the server ------------------------------------------------------------------------------------------------------


def serve(address: str, port: int) -> None:
    """Serve an empty bucket until this process ends."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(1 << 20)  # bytes in memory; longer objects lie in files
    application = Guard(DomainDispatcherApplication(create_backend_app))
    server = make_server(address, port, application, threaded=True, request_handler=MotoRequestHandler)
    _create_bucket()
    _say(f"http://{address}:{server.port}")
    server.serve_forever()


class Guard:
    """Refuses other credentials, and lets writes happen one after the other, so that their conditions hold."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._writing = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>InvalidAccessKeyId</Code><Message>The key does not exist.</Message></Error>"]
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._application(environ, start)
        with self._writing:
            return list(self._application(environ, start))


def _create_bucket() -> None:
    """Make the bucket before anybody can ask for it."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, REGION)


# --- the proxy -------------------------------------------------------------------------------------------------------


class _FaultyProxy:
    """Passes on one request for each connection, with faults."""

    def __init__(self, upstream: str, seed: int) -> None:
        self._host, _, port = upstream.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self._random = random.Random(seed)
        self.faults = Faults()
        self.counts = {"requests": 0, "slow_down": 0, "half_close": 0, "lost_reply": 0}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a client."""
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fault = self._draw()
        while self.faults.cut:
            await asyncio.sleep(0.1)
        await asyncio.sleep(self.faults.delay)
        length = _content_length(head)
        if re.search(rb"\r\nexpect: *100-continue", head, re.IGNORECASE):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"\r\nexpect:[^\r]*", b"", head, flags=re.IGNORECASE)
        if fault == "half_close" and length >= LEAST_HALVED:
            await reader.readexactly(length // 2)
            return
        body = await reader.readexactly(length)
        if fault == "slow_down":
            writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(SLOW_DOWN))
            writer.write(b"" if head.startswith(b"HEAD") else SLOW_DOWN)
            await writer.drain()
            return
        await self._forward(head, body, writer, fault)

    async def _forward(self, head: bytes, body: bytes, writer: asyncio.StreamWriter, fault: str) -> None:
        upstream, sender = await asyncio.open_connection(self._host, self._port)
        head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE)
        sender.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
        await sender.drain()
        answer = await upstream.read()
        sender.close()
        if fault == "lost_reply":
            return
        start = answer.find(b"\r\n\r\n") + 4
        if fault == "half_close" and len(answer) - start >= LEAST_HALVED:
            answer = answer[: start + (len(answer) - start) // 2]
        writer.write(answer)
        await writer.drain()

    def _draw(self) -> str:
        self.counts["requests"] += 1
        value = self._random.random()
        for name in ("slow_down", "half_close", "lost_reply"):
            value -= getattr(self.faults, name)
            if value < 0:
                self.counts[name] += 1
                return name
        return ""


def _content_length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


async def pass_on(address: str, port: int, upstream: str, seed: int) -> None:
    """Be a proxy until this process ends; a line of standard input is the faults from then on, or asks for counts."""
    proxy = _FaultyProxy(upstream, seed)
    server = await asyncio.start_server(proxy.answer, address, port, limit=1 << 20)
    _say(f"http://{address}:{server.sockets[0].getsockname()[1]}")
    threading.Thread(target=_obey, args=(proxy,), daemon=True).start()
    await server.serve_forever()


def _obey(proxy: _FaultyProxy) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "counts" not in message:
            proxy.faults = replace(proxy.faults, **message)
        _say(json.dumps(proxy.counts))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def wait_for(address: str, seconds: float = START_SECONDS) -> None:
    """Wait until something listens at an address such as http://127.0.0.1:4711; TimeoutError where nothing does."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing listens at {address}") from None
            time.sleep(0.1)


def main() -> None:
    """Run the server or the proxy, as `running` and `faulty` start them, or by hand."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("role", choices=("serve", "proxy"))
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--upstream", default="")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        if options.role == "serve":
            serve(options.address, options.port)
        else:
            asyncio.run(pass_on(options.address, options.port, options.upstream, options.seed))


if __name__ == "__main__":
    main()
