"""The address of a home on object storage, and how its store is reached: as archives are, by the AWS variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from store.remote.protocol.errors import StoreError

SCHEME = "s3"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Address:
    """A bucket, and the prefix of all names in it; the prefix may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read `s3://bucket/prefix`; StoreError where it is anything else."""
        scheme, _, rest = url.partition("://")
        if scheme != SCHEME:
            raise StoreError(
                f"A storage of the kind {scheme}:// cannot hold a home: give a folder or s3://bucket/prefix, and name "
                "the server of an S3-compatible store in AWS_ENDPOINT_URL."
            )
        bucket, _, prefix = rest.partition("/")
        prefix = "/".join(part for part in prefix.split("/") if part)
        if not BUCKET.fullmatch(bucket) or {".", ".."} & set(prefix.split("/")):
            raise StoreError("The home is no address of the form s3://bucket/prefix: correct RADALIGN_HOME.")
        return cls(bucket, prefix)

    @property
    def url(self) -> str:
        """The address in its one spelling."""
        return f"{SCHEME}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def key(self, name: str) -> str:
        """The key in the bucket of what is called `name` in the home."""
        return f"{self.prefix}/{name}" if self.prefix else name


def endpoint() -> str:
    """The server that the environment names, as a message may show it; empty for Amazon's own."""
    named = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
    try:
        parts = urlsplit(named)
    except ValueError:
        raise StoreError("AWS_ENDPOINT_URL is no address of a server, such as http://HOST:9000: correct it.") from None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if named else ""
