"""The layer below every image of the stand-in release: a small Debian with PostgreSQL, Redis and Python.

A template of the machines' Docker has it loaded, so that `docker load` of a release adds only what is
the release's own: an archive of images names this layer and leaves its content out.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "graphistry-standin-base:1"
SUITE = "trixie"
PACKAGES = "curl,postgresql,procps,python3,python3-psycopg2,redis-server"
BUILD_SECONDS = 600
"""Bound on the build; 100 s measured on two busy cores, 16 s of processor time."""
_EPOCH = "1735689600"  # as old as every file of the layer is made to be
_PRUNE = (
    "usr/share/doc usr/share/man usr/share/locale usr/share/perl usr/share/perl5 usr/share/info"
    " usr/share/i18n usr/lib/*/perl usr/lib/*/libLLVM*.so* usr/lib/*/libz3.so* usr/lib/*/gconv"
    " usr/lib/postgresql/*/lib/bitcode usr/lib/postgresql/*/lib/llvmjit.so var/lib/apt var/cache/*"
    " var/lib/dpkg/info var/log/* var/lib/postgresql/* usr/bin/perl* usr/lib/*/perl-base usr/lib/*/libperl*"
)
"""What no service needs: half of the layer."""
_HOOK = f"""set -e; cd "$1"
for user in postgres redis; do chroot . usermod -o -u 999 $user; done  # as in the official images
rm -rf {_PRUNE}"""


class BaseImageError(Exception):
    """The base image cannot be built."""


@dataclass(frozen=True)
class Layer:
    """The base as an archive of images names it."""

    digest: str
    """SHA-256 of the layer's tar archive."""

    @property
    def folder(self) -> str:
        """Where an archive of `docker save` has the layer."""
        return f"{self.digest}/layer.tar"


def cache() -> Path:
    """The folder of this user that outlives every sandbox."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    return root / "graphistry-cluster"


def base_archive() -> Path:
    """Where the base image is, or would be: its name tells what it was made of."""
    recipe = f"{SUITE} {PACKAGES} {_HOOK} {_EPOCH}".encode()
    return cache() / f"standin-base-{hashlib.sha256(recipe).hexdigest()[:16]}.tar"


def base_image(say: Callable[[str], None]) -> Path:
    """The archive for `docker load`, built into the cache unless it is there. Raises BaseImageError.

    Built in a scratch folder and renamed, so that nobody sees half of one; one build at a time.
    """
    archive = base_archive()
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (archive.parent / "standin-base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists():
            return archive
        say("building the base of the stand-in release's images, once: 1 to 2 minutes")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="standin-base-", dir=archive.parent) as scratch:
            root = Path(scratch, "layer.tar")
            _bootstrap(root, archive.parent / "standin-base.log")
            draft = Path(scratch, archive.name)
            _save(root, draft)
            draft.replace(archive)
        for older in archive.parent.glob("standin-base-*.tar"):
            if older != archive:
                older.unlink()
        say(f"base built in {time.monotonic() - started:.0f} s")
    return archive


def base_layer() -> Layer | None:
    """The base that was built on this computer; None where none was, and no machine boots."""
    try:
        with tarfile.open(base_archive()) as tar:
            manifest = tar.extractfile("manifest.json")  # the first member
            assert manifest is not None  # noqa: S101 - for mypy: it is a file
            return Layer(json.load(manifest)[0]["Layers"][0].partition("/")[0])
    except FileNotFoundError:
        return None


def image_config(digests: list[str], settings: dict[str, Any]) -> bytes:
    """An image's configuration: SHA-256 of its layers from below, and what its containers start with."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in digests]},
        },
        sort_keys=True,
    ).encode()


def _bootstrap(root: Path, log: Path) -> None:
    command = [
        *("mmdebstrap", "--mode=root", "--variant=essential", f"--include={PACKAGES}"),
        '--aptopt=Apt::Install-Recommends "false"',
        f'--customize-hook=sh -c {shlex.quote(_HOOK)} sh "$1"',
        *(SUITE, str(root)),
    ]
    with log.open("wb") as output:
        try:
            subprocess.run(
                command,
                env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=BUILD_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            lines = log.read_text(errors="replace").strip().splitlines()
            words = next((line for line in lines if line.startswith("E:")), str(error))
            raise BaseImageError(
                f"the base of the stand-in's images cannot be built: {words}; its log is {log}"
            ) from error


def _save(root: Path, archive: Path) -> None:
    """What `docker save` would write of an image with this one layer."""
    with root.open("rb") as content:
        layer = Layer(hashlib.file_digest(content, "sha256").hexdigest())
    config = image_config([layer.digest], {})
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [NAME], "Layers": [layer.folder]}]
    with tarfile.open(archive, "w") as tar:
        for path, text in (("manifest.json", json.dumps(manifest).encode()), (name, config)):
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        entry = tarfile.TarInfo(layer.folder)
        entry.size = root.stat().st_size
        with root.open("rb") as content:
            tar.addfile(entry, content)
