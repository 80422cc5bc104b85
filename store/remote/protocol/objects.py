"""Objects of a bucket: read, written, written on a condition, listed. What fails for the moment is tried again.

A request is tried again where the server is busy (503), answers not or breaks off. Where a conditional write is tried
again although the first try may have had its effect, the object is read: it is ours if its bytes are.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from store.remote.protocol.address import Address, endpoint
from store.remote.protocol.errors import StoreError

PATIENCE_SECONDS = 120.0  # how long a request is tried again; a network may be away for half a minute
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries
CONNECT_SECONDS, READ_SECONDS = 5, 30
CONNECTIONS = 32
PIECE = 1 << 20  # bytes that are read from a body at once
PART = 256 << 20  # bytes of a part of a file that is written in parts
FRESH_SECONDS = 12 * 3600.0  # for so long an object that nobody names yet is surely kept
QUIET_SECONDS = 5.0  # that a request may fail before it is said
LONGEST = 4 << 30  # bytes of a file that is written, or copied in the store, at once
REGION = "us-east-1"
DAMAGED = ".damaged"
TRIES = 4  # to fetch bytes that come changed, each time in another way
BUSY = frozenset({408, 429, 500, 502, 503, 504})
# What botocore and urllib3 raise where a connection fails or a body breaks off; both are imported late.
BROKEN = frozenset({"HTTPClientError", "IncompleteReadError", "FlexibleChecksumError", "HTTPError"})
ABSENT = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound"})
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})  # of this machine
REFUSED = frozenset(
    {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
     "AuthorizationHeaderMalformed", "401", "Unauthorized"}
)  # fmt: skip
Answer = TypeVar("Answer")
_making = threading.Lock()
# A fork waits until no thread makes a client: its lock would stay taken in the child for ever. Who waits for this lock
# must hold no other one, such as that of a `cached_property`.
os.register_at_fork(before=_making.acquire, after_in_parent=_making.release, after_in_child=_making.release)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """An object, and the tag of its version."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class Listed:
    """An object in a listing."""

    name: str  # relative to the home
    etag: str
    size: int
    age: float = 0.0  # seconds since it was written, by the clock of the store


class Objects:
    """The objects of a home. Names are relative to it; all methods raise StoreError where the store fails for good."""

    def __init__(self, address: Address, patience: float = PATIENCE_SECONDS) -> None:
        self.address, self.patience = address, patience
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The client of botocore, which threads may share."""
        if self._client is None:
            with _making:
                settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
                self._client = _make_client(os.getpid(), settings, min(READ_SECONDS, max(1.0, self.patience)))
        return self._client

    def get(self, name: str, known: str = "") -> Found | None:
        """An object; None where there is none, and one without its body where its tag is still `known`."""

        def read() -> Found | None:
            condition = {"IfNoneMatch": known} if known else {}
            answer = self.client.get_object(**self._at(name), **condition)
            return Found(_read_body(answer), answer["ETag"])

        return self._try(read, absent=None, unchanged=Found(b"", known))

    def head(self, name: str) -> Listed | None:
        """What a listing says of an object; None where there is none."""

        def read() -> Listed:
            answer = self.client.head_object(**self._at(name))
            age = _age(answer, answer["LastModified"])
            return Listed(name, answer["ETag"], int(answer["ContentLength"]), age)

        found: Listed | None = self._try(read, absent=None)
        return found

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Bytes from `start` to `stop` of the object with this key in the bucket.

        They are fewer, or none, where the object is too short, or is not there.
        """

        def read() -> bytes:
            answer = self.client.get_object(
                Bucket=self.address.bucket, Key=key, Range=f"bytes={start}-{stop - 1}"
            )  # fmt: skip
            if int(answer["ContentLength"]) > stop - start:  # its other bytes must not be taken for damage
                raise StoreError(
                    f"{_place()} answers a request for a part of an object with more than that, and files of the home "
                    "are read in parts: use a store, or a proxy before it, that honours Range."
                )
            return _read_body(answer)

        found: bytes = self._try(read, absent=b"", beyond=b"")
        return found

    def download(self, name: str, path: Path) -> bool:
        """Write an object to the file `path`; False where there is none. A body that breaks off is begun anew."""

        def read() -> bool:
            answer = self.client.get_object(**self._at(name))
            with path.open("wb") as file:
                for piece in _pieces(answer):
                    file.write(piece)
            return True

        return bool(self._try(read, absent=False))

    def put(self, name: str, body: bytes) -> None:
        """Write an object, whatever is there."""
        self._try(lambda: self.client.put_object(**self._at(name), Body=body))

    def upload(self, name: str, file: BinaryIO, size: int) -> None:
        """Write an open file of `size` bytes as an object that is named by its content, unless it is there.

        One that was written long ago is written again: if no manifest names it, it may be removed at any time.
        """
        there = self.head(name)
        if there and there.size == size and there.age < FRESH_SECONDS:
            return
        if size > LONGEST:
            self._upload_parts(name, file, size)
            return

        def write() -> None:
            file.seek(0)
            self.client.put_object(**self._at(name), Body=file)

        self._try(write)

    def put_if(self, name: str, body: bytes, etag: str | None) -> str | None:
        """Write an object if it still has this tag or, for None, if there is none; its new tag, or None if not.

        `body` must be of this writer alone, so that it can be told whether an earlier try had its effect.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        uncertain = [False]

        def write() -> str:
            try:
                return str(self.client.put_object(**self._at(name), Body=body, **condition)["ETag"])
            except Exception as error:
                uncertain[0] = uncertain[0] or not _is_answer(error)
                raise

        written: str | None = self._try(write, absent=None, refused=None)
        if written is None and uncertain[0]:
            there = self.get(name)
            return there.etag if there and there.body == body else None
        return written

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._try(lambda: self.client.delete_object(**self._at(name)), absent=None)

    def set_aside(self, name: str) -> None:
        """Rename an object whose content is not what its name says, so that it is written again when it is wanted.

        One that is too long to be copied at once is removed.
        """
        aside = {"Bucket": self.address.bucket, "Key": self.address.key(name) + DAMAGED}
        there = self.head(name)
        if there and there.size <= LONGEST:
            self._try(lambda: self.client.copy_object(**aside, CopySource=self._at(name)), absent=None)
        self.delete(name)

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects whose names begin with `prefix`, in the order of their names."""
        start, base = "", self.address.key("")
        while True:
            place = {"Bucket": self.address.bucket, "Prefix": self.address.key(prefix)}
            place |= {"ContinuationToken": start} if start else {}
            page = self._try(lambda place=place: self.client.list_objects_v2(**place))  # type: ignore[misc]
            for entry in page.get("Contents", ()):
                age = _age(page, entry["LastModified"])
                yield Listed(entry["Key"].removeprefix(base), entry["ETag"], int(entry["Size"]), age)
            if not page.get("IsTruncated"):
                return
            start = page["NextContinuationToken"]

    def _upload_parts(self, name: str, file: BinaryIO, size: int) -> None:
        place = self._at(name)
        upload = self._try(lambda: self.client.create_multipart_upload(**place))["UploadId"]
        try:
            parts = [self._upload_part(place, upload, number, piece) for number, piece in _parts(file)]
            whole = {"UploadId": upload, "MultipartUpload": {"Parts": parts}}
            done = self._try(lambda: self.client.complete_multipart_upload(**place, **whole), absent=None)
            if done is None and not ((there := self.head(name)) and there.size == size):  # no try before had its effect
                raise StoreError(f"{_place()} has lost the parts of {name}: give the same command again.")
        except BaseException:
            with suppress(StoreError):  # parts that belong to no object would take room, and be paid for, for ever
                self._try(lambda: self.client.abort_multipart_upload(**place, UploadId=upload), absent=None)
            raise

    def _upload_part(self, place: Mapping[str, str], upload: str, number: int, piece: bytes) -> dict[str, Any]:
        def write() -> dict[str, Any]:
            sent = self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=piece)
            return {"ETag": sent["ETag"], "PartNumber": number}

        written: dict[str, Any] = self._try(write)
        return written

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.address.bucket, "Key": self.address.key(name)}

    def _try(self, act: Callable[[], Answer], **instead: Any) -> Any:
        """What `act` returns. Where there is no object, it is `absent`; where a condition fails, `refused`; where the
        object is as it was, `unchanged`; where it has none of the bytes, `beyond`."""
        began, pause, said = time.monotonic(), FIRST_PAUSE, False
        while True:
            try:
                return act()
            except StoreError:
                raise
            except Exception as error:
                status, code = _status(error)
                if code in ABSENT and "absent" in instead:
                    return instead["absent"]
                if status == 304 and "unchanged" in instead:
                    return instead["unchanged"]
                if status == 412 and "refused" in instead:
                    return instead["refused"]
                if status == 416 and "beyond" in instead:
                    return instead["beyond"]
                if isinstance(error, OSError) and error.errno in DISK:
                    raise
                if not _may_pass(error, status, code):
                    raise explain(error, self.address) from None
                passed = time.monotonic() + pause - began
                if passed > self.patience:
                    raise explain(error, self.address) from None
                if passed > QUIET_SECONDS and not said:
                    said = True
                    left = self.patience - passed
                    logger.warning("%s does not answer as it should; it is asked again for %.0f s", _place(), left)
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)


def explain(error: BaseException, address: Address) -> StoreError:
    """The sentence for an error of botocore. The error's own text may quote credentials, and is not shown."""
    status, code = _status(error)
    place = _place()
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"):
        return StoreError(
            f"There are no credentials for the home {address.url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "what else your store uses."
        )
    if code == "NoSuchBucket":
        return StoreError(
            f"There is no bucket {address.bucket} at {place}: make it, or correct RADALIGN_HOME or AWS_ENDPOINT_URL."
        )
    if code == "RequestTimeTooSkewed":
        return StoreError(f"The clock of this machine and that of {place} are too far apart: set this one right.")
    if code in REFUSED or status in (401, 403):
        return StoreError(
            f"{place} refuses the credentials for the home {address.url}: correct AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or what the key may do in the bucket."
        )
    if status == 0:
        return StoreError(
            f"{place} cannot be reached for the home {address.url}: check AWS_ENDPOINT_URL and the network, then give "
            "the same command again."
        )
    return StoreError(
        f"{place} does not serve the home {address.url} (status {status}, {code}): give the same command again when it "
        "does."
    )


def _place() -> str:
    return endpoint() or "Amazon S3"


def _age(answer: Mapping[str, Any], written: datetime) -> float:
    """Seconds between the time when an object was written and that of an answer, both by the clock of the store."""
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(said) if said else datetime.now(UTC)
    return (now - written).total_seconds()


@lru_cache(maxsize=8)
def _make_client(process: int, settings: tuple[tuple[str, str], ...], read_seconds: float) -> Any:
    """A client for this process and these variables; to make one takes half a second.

    No answer is waited for longer than there is patience: a lease must not expire while its renewal hangs.
    """
    try:
        import botocore.session
        from botocore.config import Config
    except ImportError:
        raise StoreError(
            "A home on object storage needs packages of its own: run pip install '.[remote]' in the checkout."
        ) from None
    own = {"s3": {"addressing_style": "path"}} if endpoint() else {}
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        max_pool_connections=CONNECTIONS,
        **own,
    )
    try:
        session = botocore.session.Session()
        # A server of one's own has no regions, but signatures need one.
        region = session.get_config_variable("region") or (REGION if endpoint() else None)
        return session.create_client("s3", region_name=region, config=config)
    except Exception as error:
        raise StoreError(
            f"The settings of AWS in the environment cannot be used ({type(error).__name__}): correct "
            "AWS_ENDPOINT_URL, AWS_PROFILE and the region."
        ) from None


def _parts(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The content of a file in parts, with their numbers from 1 on."""
    file.seek(0)
    yield from enumerate(iter(lambda: file.read(PART), b""), start=1)


def _pieces(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """The body of an answer; an error where it is shorter than was said."""
    left, body = int(answer["ContentLength"]), answer["Body"]
    while piece := body.read(PIECE):
        left -= len(piece)
        yield piece
    if left:
        raise ConnectionError("the body broke off")


def _read_body(answer: Mapping[str, Any]) -> bytes:
    return b"".join(_pieces(answer))


def _status(error: BaseException) -> tuple[int, str]:
    """Status and code of an answer that is an error; (0, "") where there was no answer."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return 0, ""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(response.get("Error", {}).get("Code", ""))


def _is_answer(error: BaseException) -> bool:
    """Whether the server said what became of a request; if not, it may have had its effect."""
    status, _ = _status(error)
    return 0 < status < 500 or status == 503


def _may_pass(error: BaseException, status: int, code: str) -> bool:
    """Whether it is worth trying again."""
    if status in BUSY or code in ("SlowDown", "ConditionalRequestConflict", "OperationAborted", "BadDigest"):
        return True
    if status:
        return False
    return isinstance(error, (ConnectionError, TimeoutError)) or any(
        kind.__name__ in BROKEN for kind in type(error).__mro__
    )
