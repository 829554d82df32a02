"""A release of noise, and a store that gives it away as slowly as S3 does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

MEBIBYTE = 2**20
BYTES_PER_SECOND = 90_000_000
"""That S3 gives a request: 85 to 90 MB/s (AWS, performance guidelines for S3)."""
LAYERS = 8
IMAGE = "graphistry-cluster-bench:1"
VERSION, CUDA = "2.50.1", "12"

_PACK = f"""
cd "$1"
gzip -1 -c containers.tar > containers.tar.gz
echo {VERSION} > VERSION
echo {CUDA} > CUDA_SHORT_VERSION
: > graphistry
tar -cf - VERSION CUDA_SHORT_VERSION graphistry containers.tar.gz | gzip -1 > release.tar.gz
rm containers.tar.gz
"""


def build(folder: Path, mebibytes: int) -> None:
    """``release.tar.gz`` of about that size in *folder*, and ``containers.tar``, the images in it, unpacked."""
    size, files, digests = 2 * mebibytes * MEBIBYTE // LAYERS, [], []
    with tarfile.open(folder / "containers.tar", "w") as images:
        for index in range(LAYERS):
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as archive:
                # Images compress to about the half.
                noise = os.urandom(size // 2) + b"/usr/lib/python3/" * (size // 34)
                _add(archive, f"opt/{index}", noise)
            files.append(f"{index}.tar")
            digests.append(f"sha256:{hashlib.sha256(layer.getbuffer()).hexdigest()}")
            _add(images, files[-1], layer.getvalue())
        rootfs = {"type": "layers", "diff_ids": digests}
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
        manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": files}]
        _add(images, "config.json", json.dumps(config).encode())
        _add(images, "manifest.json", json.dumps(manifest).encode())
    subprocess.run(["sh", "-e", "-c", _PACK, "sh", str(folder)], check=True)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


class Store(BaseHTTPRequestHandler):
    """One file at any path: in ranges, as S3 gives it, but for ``/whole``."""

    file: Path

    def do_GET(self) -> None:
        """Give a connection no more than S3 does."""
        size = self.file.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if self.path == "/whole" or asked is None:
            begin, end = 0, size
            self.send_response(200)
        else:
            begin, end = int(asked[1]), min(int(asked[2] or size) + 1, size)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("ETag", '"release"')
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        began, offset, connection = time.monotonic(), begin, self.connection.fileno()
        with self.file.open("rb") as file, suppress(ConnectionError):
            while offset < end:
                count = min(MEBIBYTE, end - offset)
                offset += os.sendfile(connection, file.fileno(), offset, count)
                due = began + (offset - begin) / BYTES_PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))

    def log_message(self, *_: object) -> None:
        """Say nothing."""
