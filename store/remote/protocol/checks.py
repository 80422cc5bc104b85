"""Whether a store does what leases and manifests rely on: it refuses a write whose condition does not hold."""

from __future__ import annotations

import uuid

from store.remote.protocol.errors import StoreError
from store.remote.protocol.objects import Objects


def expect_conditions(objects: Objects, endpoint: str) -> None:
    """Raise StoreError where the store ignores the conditions of writes."""
    name = f"probes/{uuid.uuid4().hex}"
    try:
        etag = objects.put_if(name, b"first", None)
        again = objects.put_if(name, b"second", None)
        other = objects.put_if(name, b"third", '"00000000000000000000000000000000"')
        fourth = objects.put_if(name, b"fourth", etag) if etag else None
        honoured = etag is not None and again is None and other is None and fourth is not None
    finally:
        objects.delete(name)
    if not honoured:
        raise StoreError(
            f"{endpoint or 'The store'} does not honour conditional writes (If-None-Match, If-Match), without which "
            "two runs could overwrite each other: use a store that does, such as Amazon S3 or a current MinIO."
        )
