"""PostgreSQL databases that a variable names: addresses, what keeps one from being used, and whether that will pass.

Passwords stand in no sentence. SQLAlchemy is imported where it is needed: most of what imports this room has no
database.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from store.errors import SettingError, UserError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

HISTORY_VARIABLE = "RADALIGN_DATABASE"  # of Dagster
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
DRIVEN = "postgresql+psycopg2"  # SQLAlchemy 2.1 takes another driver where none is named
DRIVER, EXTRA = "psycopg2", "run pip install '.[postgres]' in the checkout"
EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/{name}"
DEFAULT_PORT = 5432
CONNECTING: Mapping[str, Any] = {  # what libpq is told: a host that was cut off is noticed within a minute
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 45_000,
}
PATIENCE_SECONDS = 300.0  # for a server that answered before, such as one that is restarted
FIRST_SECONDS = 15.0  # for a server that has not answered yet, which may be about to start
TURN_SECONDS = 300.0  # for another process that makes the tables
QUIET_SECONDS = 5.0  # before somebody is told that a server is waited for
PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 1.0
ANSWERED = "RADALIGN_DATABASES_ANSWERED"  # places that answered this process or one that started it

# SQLSTATE: the server stops or starts, has no room for a connection, or has ended one of two transactions that block
# each other.
PASSING = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01")
INSUFFICIENT_PRIVILEGE = "42501"
LASTING = re.compile(r"password|no pg_hba|does not exist|permission denied|is not permitted|certificate|SSL is not")
WORDS = (  # what libpq says -> what is wrong, and what to do
    (r"password authentication failed|no password supplied", "refuses the password of {user}: correct it"),
    (r"no pg_hba\.conf entry", "does not admit {user} from this machine: add a line to its pg_hba.conf"),
    (r'database ".*" does not exist', "has no database {name}: make it (`createdb {name}`), or name another one"),
    (r'role ".*" does not exist', "has no user {user}: make it (`createuser {user}`), or name another one"),
    (r"permission denied", "does not let {user} make tables in {name}: make {user} its owner"),
    (r"too many clients|remaining connection slots", "takes no more connections: raise its max_connections"),
    (r"starting up|shutting down|recovery mode", "is starting or stopping: try again when it runs"),
)

T = TypeVar("T")
Log = Callable[[str], object]


class DatabaseError(UserError):
    """A database cannot be used; the message is one sentence, without the password."""


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database, and the variable that names it."""

    url: URL
    variable: str

    @classmethod
    def of(cls, address: str, variable: str) -> Database:
        """The database at an address; SettingError, which does not repeat the address, where it is none."""
        if find_spec(DRIVER) is None:
            raise SettingError(f"{variable} names a PostgreSQL database, and {DRIVER} is not installed here: {EXTRA}.")
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(address.strip())
        except (ArgumentError, ValueError):
            url = None
        if url is None or url.drivername not in SCHEMES or not url.database:
            example = EXAMPLE.format(name="radalign")
            raise SettingError(f"{variable} is no address of a PostgreSQL database, such as {example}.")
        if "@" in f"{url.host}{url.database}":  # the rest of a password, which every sentence would show
            raise SettingError(f"{variable} has an @ in the name or the password: write it as %40, and / as %2F.")
        return cls(url.set(drivername=DRIVEN), variable)

    @property
    def address(self) -> str:
        """With the password, for a driver only."""
        return self.url.render_as_string(hide_password=False)

    @property
    def place(self) -> str:
        """Host and port, as a sentence may name them."""
        return f"{self.url.host or 'the local socket'}:{self.url.port or DEFAULT_PORT}"

    def __str__(self) -> str:
        return f"{self.url.database} at {self.place}"

    def explain(self, error: BaseException) -> DatabaseError:
        """Why the database cannot be used, in one sentence."""
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        names = {"user": self.url.username or "this user", "name": self.url.database}
        for words, meaning in WORDS:
            if re.search(words, text):
                return DatabaseError(f"{self.variable}: PostgreSQL at {self.place} {meaning.format(**names)}.")
        why = text.rpartition("failed: ")[2].removeprefix("FATAL: ").strip().partition(" Is the server")[0][:200]
        return DatabaseError(
            f"{self.variable}: PostgreSQL at {self.place} does not answer ({why.rstrip('.')}): start it, or correct "
            "the address."
        )

    def expect(self) -> None:
        """Raise DatabaseError where nobody can work with the database. A server that answered before is waited for."""
        self.patiently(self._ask)

    def patiently(self, call: Callable[[], T], log: Log = lambda _: None) -> T:
        """What `call` returns; it is called again while the server is away, which `log` is told once.

        Raises:
            DatabaseError: the server does not come back, or does not let this user in.
        """
        from sqlalchemy.exc import DBAPIError

        answered, said, began = self._has_answered(), False, time.monotonic()
        deadline = began + (PATIENCE_SECONDS if answered else FIRST_SECONDS)
        pause = PAUSE_SECONDS
        while True:
            try:
                found = call()
            except DBAPIError as error:
                passing = will_pass(error)
                if not passing and not is_refusal(error):
                    raise
                if not passing or time.monotonic() > deadline:
                    raise self.explain(error) from None
                if not said and time.monotonic() > began + QUIET_SECONDS:
                    said = True
                    log(f"The database {self} does not answer; waiting for it, at most {deadline - began:.0f} s.")
            else:
                if not answered:
                    self._note_answer()
                return found
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def take_turn(self, connection: Connection, number: int) -> None:
        """Be the only process that makes tables, by a lock that is freed with the connection.

        Raises:
            DatabaseError: another one has it for TURN_SECONDS.
        """
        from sqlalchemy import text

        deadline = time.monotonic() + TURN_SECONDS
        while not connection.execute(text("select pg_try_advisory_lock(:number)"), {"number": number}).scalar():
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"{self.variable}: another process has not finished making the tables of the database {self} for "
                    f"{TURN_SECONDS:.0f} s: end it if it hangs, then give the same command again."
                )
            time.sleep(PAUSE_SECONDS)

    def engine(self, **pool: Any) -> Engine:
        """Connects for a moment each time, unless settings of a pool are given; each statement is committed."""
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        settings = pool or {"poolclass": NullPool}
        return create_engine(self.url, isolation_level="AUTOCOMMIT", connect_args=dict(CONNECTING), **settings)

    def _ask(self) -> None:
        with self.engine().connect():
            pass

    def _has_answered(self) -> bool:
        return str(self) in os.environ.get(ANSWERED, "").split(";")

    def _note_answer(self) -> None:
        """Also for the processes that this one starts: a step that begins during a restart waits for its end."""
        os.environ[ANSWERED] = ";".join([*filter(None, [os.environ.get(ANSWERED, "")]), str(self)])


def will_pass(error: BaseException) -> bool:
    """Whether an error of SQLAlchemy comes from a server that is away for now, so that the same may work later."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    code = getattr(error.orig, "pgcode", None)
    return code.startswith(PASSING) if code else not LASTING.search(str(error.orig))


def is_refusal(error: BaseException) -> bool:
    """Whether an error of SQLAlchemy says that this user may not use the database, or that there is none."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    return isinstance(error, (OperationalError, ProgrammingError)) and (
        getattr(error.orig, "pgcode", None) in (None, INSUFFICIENT_PRIVILEGE)
    )


def describe_tables(tables: Collection[str]) -> str:
    """Some names of tables, for a sentence."""
    shown = sorted(tables)[:3]
    return f"it has {len(tables)} other tables, such as {', '.join(shown)}"
