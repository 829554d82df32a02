"""The layer below every image of the stand-in release: a small Debian with PostgreSQL, Redis, Caddy and Python.

A template of the machines' Docker has it loaded, so that `docker load` of a release adds only what is
the release's own: an archive of images names this layer and leaves its content out.
"""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..user_cache import Say, bootstrap, built_once, cache

NAME = "graphistry-standin-base:1"
SUITE = "trixie"
PACKAGES = "caddy,curl,postgresql,procps,python3,python3-psycopg2,redis-server"
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


@dataclass(frozen=True)
class Layer:
    """The base as an archive of images names it."""

    digest: str
    """SHA-256 of the layer's tar archive."""

    @property
    def folder(self) -> str:
        """Where an archive of `docker save` has the layer."""
        return f"{self.digest}/layer.tar"


def base_archive() -> Path:
    """Where the base image is, or would be: its name tells what it was made of."""
    recipe = f"{SUITE} {PACKAGES} {_HOOK} {_EPOCH}".encode()
    return cache() / f"standin-base-{hashlib.sha256(recipe).hexdigest()[:16]}.tar"


def base_image(say: Say) -> Path:
    """The archive for `docker load`, built into the cache unless it is there. Raises MachineError."""
    building = "the base of the stand-in release's images, once: 1 to 2 minutes"
    return built_once(base_archive(), "standin-base", building, _make, say)


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


def _make(draft: Path) -> None:
    root = draft.with_name("layer.tar")
    bootstrap(
        [
            *("--variant=essential", f"--include={PACKAGES}"),
            f'--customize-hook=sh -c {shlex.quote(_HOOK)} sh "$1"',
            *(SUITE, str(root)),
        ],
        cache() / "standin-base.log",
        "the base of the stand-in's images",
        seconds=BUILD_SECONDS,
        environment={"SOURCE_DATE_EPOCH": _EPOCH},
    )
    _save(root, draft)


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
