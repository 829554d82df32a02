"""``python -m bench.release_delivery``: the agent's one pass against the documented way, on a synthetic release.

The documented way is download, untar, ``docker load -i``. Docker is the one that DOCKER_HOST names, or else a stand-in
that does what Docker does with an archive: it stores the unpacked archive, unpacks its layers, and removes the first.
Printed are ratios: wall time (documented / ours) and peak of the disk's use (ours / documented).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

MEBIBYTE = 1024 * 1024
LAYERS = 4
IMAGE = "graphistry-cluster-bench:1"
SAMPLE_SECONDS = 0.05
STAND_IN = """#!/bin/sh
set -e
case "$1" in
  load)
    [ "$2" != -i ] || exec < "$3"
    mkdir -p "$BENCH_DOCKER/archive" "$BENCH_DOCKER/layers"
    # As Docker does: whatever the compression, the archive is stored, then its layers are unpacked.
    gzip -dcf | tar -xf - -C "$BENCH_DOCKER/archive"
    for layer in "$BENCH_DOCKER"/archive/layer*.tar; do
      mkdir "$BENCH_DOCKER/layers/$(basename "$layer")"
      tar -xf "$layer" -C "$BENCH_DOCKER/layers/$(basename "$layer")"
    done
    rm -r "$BENCH_DOCKER/archive"
    echo "Loaded image: graphistry-cluster-bench:1" ;;
esac
"""


class Noise:
    """Bytes of which half are random: images compress about so."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        size = self._left if size < 0 else min(size, self._left)
        self._left -= size
        half = os.urandom(size // 2)
        return (half + b"/usr/lib/python3/" * (size // 34 + 1))[:size]


def layer(file: Path, size: int) -> str:
    """Write a layer, a tar with one file; its checksum."""
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo(f"opt/{file.stem}")
        member.size = size
        archive.addfile(member, Noise(size))
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(MEBIBYTE):
            digest.update(chunk)
    return digest.hexdigest()


def build(folder: Path, mebibytes: int) -> dict[str, Path]:
    """The release's archive by compression, each of about *mebibytes*."""
    work = folder / "build"
    work.mkdir()
    # Half of it is random, so it compresses to about half.
    files = [work / f"layer{index}.tar" for index in range(LAYERS)]
    digests = [layer(file, 2 * mebibytes * MEBIBYTE // LAYERS) for file in files]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in digests]},
    }
    (work / "config.json").write_text(json.dumps(config))
    names = [file.name for file in files]
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": names}]
    (work / "manifest.json").write_text(json.dumps(manifest))
    _shell('tar -cf - -C "$1" . | gzip -1 > "$2"', work, folder / "containers.tar.gz")
    shutil.rmtree(work)
    for name, text in (("VERSION", "2.50.1"), ("CUDA_SHORT_VERSION", "12"), ("graphistry", "")):
        (folder / name).write_text(text)
    members = "VERSION CUDA_SHORT_VERSION graphistry containers.tar.gz"
    found = {"gzip": folder / "release.tar.gz", "zstd": folder / "release.tar.zst"}
    _shell(f'tar -cf - -C "$1" {members} | gzip -1 > "$2"', folder, found["gzip"])
    _shell(f'tar -cf - -C "$1" {members} | zstd -q -3 -o "$2"', folder, found["zstd"])
    (folder / "containers.tar.gz").unlink()
    return found


def documented(work: Path, url: str) -> None:
    """What the vendor's manual says."""
    archive = work / "release.tar"
    _run(["curl", "-fsS", "-o", str(archive), url])
    _run(["tar", "-xf", str(archive), "-C", str(work)])
    _run(["docker", "load", "-i", str(work / "containers.tar.gz")])


def ours(work: Path, url: str, sha256: str) -> None:
    """The agent's phase, in a process of its own because its folder is fixed at its start."""
    environment = {**os.environ, "GRAPHISTRY_CLUSTER_HOME": str(work)}
    command = [sys.executable, "-m", "bench.release_delivery", "--phase", url, sha256]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def phase(url: str, sha256: str) -> None:
    """Run the agent's phase release."""
    from agent.release import release

    specification = SimpleNamespace(
        release_source=url, release_sha256=sha256, release_version="2.50.1", cuda="12"
    )
    report = SimpleNamespace(version=lambda *_: None)
    site = SimpleNamespace(open_release=None)  # of nothing that only a site opens
    node: Any = SimpleNamespace(specification=specification, report=report, site=site)
    release(node)


class Peak:
    """Most of the disk that files of some folders took, in bytes over the begin; no other program's are counted."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._begin = self._used()
        self.bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Stop looking; the peak."""
        self._ended.set()
        self._thread.join()
        return self.bytes

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._used() - self._begin)

    def _used(self) -> int:
        """What is allocated below the folders; a file that goes away meanwhile counts no more."""
        total = 0
        for top in self._folders:
            for root, _, names in os.walk(top):
                for name in names:
                    with contextlib.suppress(OSError):
                        total += (Path(root) / name).lstat().st_blocks * 512
        return total


def measure(folder: Path, way: str, url: str, sha256: str) -> tuple[float, int]:
    """Seconds and peak bytes of one way, from an empty folder and an empty Docker."""
    work, docker = folder / "work", docker_root(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    if "DOCKER_HOST" in os.environ:
        subprocess.run(["docker", "rmi", "-f", IMAGE], capture_output=True, check=False)
    else:
        shutil.rmtree(docker, ignore_errors=True)
        docker.mkdir()
        os.environ["BENCH_DOCKER"] = str(docker)
    os.sync()
    peak, begin = Peak(work, docker), time.monotonic()
    documented(work, url) if way == "documented" else ours(work, url, sha256)
    seconds = time.monotonic() - begin
    return seconds, peak.end()


def docker_root(folder: Path) -> Path:
    """Where Docker keeps what it loads."""
    if "DOCKER_HOST" not in os.environ:
        return folder / "docker"
    told = subprocess.run(
        ["docker", "info", "--format", "{{.DockerRootDir}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(told.stdout.strip())


class Files(SimpleHTTPRequestHandler):
    """Serves a folder, quietly, and no faster than S3 does."""

    bytes_per_second = 0

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file."""
        begin, sent = time.monotonic(), 0
        while chunk := source.read(MEBIBYTE):
            outputfile.write(chunk)
            sent += len(chunk)
            if self.bytes_per_second:
                due = begin + sent / self.bytes_per_second
                time.sleep(max(0.0, due - time.monotonic()))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def compare(folder: Path, mebibytes: int, runs: int) -> dict[str, Any]:
    """Both ways for each compression, the best of some runs each."""
    archives = folder / "archives"
    archives.mkdir()
    found: dict[str, Any] = {"docker": os.environ.get("DOCKER_HOST", "a stand-in")}
    if "DOCKER_HOST" not in os.environ:
        (folder / "bin").mkdir()
        (folder / "bin" / "docker").write_text(STAND_IN)
        (folder / "bin" / "docker").chmod(0o755)
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    built = build(archives, mebibytes)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Files, directory=str(archives))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for compression, archive in built.items():
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        with archive.open("rb") as stream:
            sha256 = _sha256(stream)
        results: dict[str, list[tuple[float, int]]] = {"documented": [], "ours": []}
        for _ in range(runs):
            for way, measured in results.items():
                measured.append(measure(folder, way, url, sha256))
        best = {way: min(measured)[0] for way, measured in results.items()}
        peak = {way: min(each[1] for each in measured) for way, measured in results.items()}
        found[compression] = {
            "archiveMebibytes": archive.stat().st_size // MEBIBYTE,
            "seconds": {way: round(value, 1) for way, value in best.items()},
            "peakMebibytes": {way: value // MEBIBYTE for way, value in peak.items()},
            "timesFaster": round(best["documented"] / best["ours"], 2),
            "diskRatio": round(peak["ours"] / peak["documented"], 2),
        }
    server.shutdown()
    return found


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(MEBIBYTE):
        digest.update(chunk)
    return digest.hexdigest()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _shell(script: str, *arguments: Path) -> None:
    subprocess.run(["sh", "-c", script, "sh", *map(str, arguments)], check=True)


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the archive")
    parser.add_argument("--runs", type=int, default=2, help="of each way; the best counts")
    parser.add_argument(
        "--megabytes-per-second",
        type=int,
        default=90,
        help="of the network, 0 for all it gives; S3 gives 85 to 90 a request (AWS: performance guidelines for S3)",
    )
    parser.add_argument("--folder", type=Path, help="where there is room for six times the size")
    parser.add_argument("--phase", nargs=2, metavar=("URL", "SHA256"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.phase:
        phase(*asked.phase)
        return
    Files.bytes_per_second = asked.megabytes_per_second * 1_000_000
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        print(json.dumps(compare(Path(folder), asked.mebibytes, asked.runs), indent=2))


if __name__ == "__main__":
    main()
