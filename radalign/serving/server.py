"""Serves models on this machine until the process is asked to stop."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import torch
import uvicorn

from imaging.pool import usable_cores
from radalign.errors import RadalignError
from radalign.model import Model
from radalign.serving.answers import NOTICE
from radalign.serving.app import PAGES, POSTED, build_app
from radalign.serving.guard import HOST, Guard, configure
from radalign.serving.problems import Discreet
from radalign.serving.service import Service
from radalign.serving.uploads import MIB

WISHES = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(models: Sequence[Model], port: int, most_mib: int, log: Callable[[str], object]) -> None:
    """Serve models on a port (0: one that is free). Returns when the process was asked to stop.

    Raises:
        RadalignError: the port cannot be used, or a model cannot be loaded.
    """
    with _listen(port) as listener:
        port = listener.getsockname()[1]
        torch.set_num_threads(max(1, usable_cores() // 2))  # the other half decodes
        log(f"Loading {len(models)} model{'s' * (len(models) > 1)} ...")
        service = Service(models, most_mib * MIB)
        try:
            _run(service, listener, port)
        finally:
            service.close()
        if service.working:  # such threads would keep the process
            sys.stdout.flush()
            os._exit(0)


def _run(service: Service, listener: socket.socket, port: int) -> None:
    guard = Guard(Discreet(build_app(service)), port, "|".join(PAGES), POSTED)
    server = uvicorn.Server(configure(guard, port))

    def stop(_: int, __: FrameType | None) -> None:
        server.should_exit = True

    for wish in WISHES:  # uvicorn raises those it caught again when it has ended
        signal.signal(wish, stop)
    names = " and ".join(service.models)
    print(f"{names}: http://{HOST}:{port} (Ctrl-C stops it). {NOTICE}", flush=True)
    server.run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    """A socket that listens on this machine only."""
    another = "give another one with --port"
    if not 0 <= port < 1 << 16:
        raise RadalignError(f"Port {port} is not between 0 and 65535: {another}.")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        why = "is in use: stop what uses it, or" if error.errno == errno.EADDRINUSE else f"({error.strerror}):"
        raise RadalignError(f"Port {port} {why} {another}.") from None
    return listener
