"""A store in the memory of this process, with the methods of `store.remote.protocol.objects.Objects`."""

from __future__ import annotations

import threading
from pathlib import Path

from store.remote.protocol.address import Address
from store.remote.protocol.objects import Found, Listed


class MemoryObjects:
    """Objects with tags; `puts` are the names that were written, in their order."""

    def __init__(self) -> None:
        self.address = Address("bucket", "home")
        self.kept: dict[str, Found] = {}
        self.puts: list[str] = []
        self._lock, self._count = threading.Lock(), 0

    def get(self, name: str, known: str = "") -> Found | None:
        found = self.kept.get(name)
        return Found(b"", known) if found and found.etag == known else found

    def head(self, name: str) -> Listed | None:
        found = self.kept.get(name)
        return Listed(name, found.etag, len(found.body)) if found else None

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        found = self.kept.get(key.removeprefix("home/"))
        return found.body[start:stop] if found else b""

    def download(self, name: str, path: Path) -> bool:
        if name in self.kept:
            path.write_bytes(self.kept[name].body)
        return name in self.kept

    def put(self, name: str, body: bytes) -> None:
        with self._lock:
            self._write(name, body)

    def upload(self, name: str, file, size: int) -> None:
        file.seek(0)
        self.put(name, file.read())

    def put_if(self, name: str, body: bytes, etag: str | None) -> str | None:
        with self._lock:
            there = self.kept.get(name)
            return self._write(name, body) if (there and there.etag) == etag else None

    def delete(self, name: str) -> None:
        self.kept.pop(name, None)

    def list(self, prefix: str):
        found = sorted(name for name in self.kept if name.startswith(prefix))
        return (Listed(name, self.kept[name].etag, len(self.kept[name].body)) for name in found)

    def _write(self, name: str, body: bytes) -> str:
        self._count += 1
        self.kept[name] = Found(body, f'"{self._count}"')
        self.puts.append(name)
        return self.kept[name].etag
