"""``python -m bench.release_delivery``: a release on its way to a machine, as documented and as the agent does it.

A machine of the sandbox, with a Docker and a disk of its own, measures itself; ``--here`` measures a real one, as root.
Documented are curl, tar and `docker load`. The agent's way is its phase `release`; beside it the same with one request
for all. Docker alone is `docker load` of the images that are there already, unpacked: its own part of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from bench.synthetic_release import CUDA, IMAGE, MEBIBYTE, VERSION, Store, build

MODULE = "bench.release_delivery"
STAND_INS = """\
S3 is a stand-in: a server on the machine itself that gives each connection 90 MB/s, as AWS documents of a request, has
neither TLS nor a network before it, and takes a part of the same processors. Half of what the layers hold is noise."""


class Peak:
    """Most bytes that a file system had in use, over those at the begin."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ended, self._most = folder, threading.Event(), 0
        self._thread = threading.Thread(target=self._watch, args=(self._used(),))
        self._thread.start()

    def end(self) -> int:
        """Stop looking; the peak."""
        self._ended.set()
        self._thread.join()
        return self._most

    def _watch(self, begin: int) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, self._used() - begin)

    def _used(self) -> int:
        seen = os.statvfs(self._folder)
        return (seen.f_blocks - seen.f_bfree) * seen.f_frsize


def measure(mebibytes: int, runs: int) -> dict[str, tuple[float, int]]:
    """Seconds and peak bytes of each way on this machine, its fastest run's, all on the disk of Docker's data."""
    docker = Path(_output("docker", "info", "--format", "{{.DockerRootDir}}"))
    work = docker / "bench"
    found: dict[str, tuple[float, int]] = {}
    with TemporaryDirectory(dir="/var/tmp") as name:  # /tmp may be in memory
        build(Path(name), mebibytes)
        Store.file = Path(name, "release.tar.gz")
        sha256 = _output("sha256sum", str(Store.file)).split()[0]
        server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = f"http://127.0.0.1:{server.server_port}"
        phase = f"GRAPHISTRY_CLUSTER_HOME={work} {sys.executable} -m {MODULE} --phase"
        ways = {
            "documented": f"cd {work}; curl -fsS -o release.tar.gz {store}/release.tar.gz;"
            " tar -xf release.tar.gz; docker load -i containers.tar.gz",
            "ours, one request": f"{phase} {store}/whole {sha256}",
            "ours": f"{phase} {store}/release.tar.gz {sha256}",
            "Docker alone": f"docker load -i {name}/containers.tar",
        }
        for way, script in [*ways.items()] * runs:
            work.mkdir()
            os.sync()
            peak, began = Peak(docker), time.monotonic()
            _output("sh", "-e", "-c", script)
            measured = time.monotonic() - began, peak.end()
            found[way] = min(measured, found.get(way, measured))
            _output("docker", "image", "rm", "--force", IMAGE)
            shutil.rmtree(work)
        server.shutdown()
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def phase(url: str, sha256: str) -> None:
    """The agent's phase `release`, in a process of its own because its folder is fixed at its start."""
    from agent.phases.release import release

    specification = SimpleNamespace(
        release_source=url, release_sha256=sha256, release_version=VERSION, cuda=CUDA
    )
    report = SimpleNamespace(version=lambda *_: None)
    site = SimpleNamespace(open_release=None)  # of nothing that only a site opens
    node: Any = SimpleNamespace(specification=specification, report=report, site=site)
    release(node)


def on_a_machine(mebibytes: int, runs: int) -> dict[str, tuple[float, int]]:
    """What a machine of the sandbox measures, which is booted for it and has nothing else to do."""
    from model.problems import UserError
    from operate.stack.deployment import ROOT
    from operate.terminal.messages import say
    from sandbox import lifecycle
    from sandbox.machines import hosts, inside, private_docker
    from sandbox.machines.availability import prepare

    machines = prepare(say)
    if machines is None:
        raise UserError("without machines that boot there is nothing to measure")
    with TemporaryDirectory(prefix="graphistry-bench-") as name:
        directory = Path(name)
        host = lifecycle.start(directory, machines=machines).docker_host
        try:
            hosts.want(directory, "bench", [hosts.HostMachine("one", "10.79.0.10", 0, "", 0)])
            hosts.reach(directory, "bench")
            assert host is not None  # noqa: S101 its machines boot
            client, machine = private_docker.connect(host), hosts.container("bench", "one")
            root = Path(f"/proc/{inside.process_of(client, machine)}/root/opt/bench")
            for part in ("agent", "bench"):
                shutil.copytree(ROOT / part, root / part)
            command = f"python3 -m {MODULE} --here --json --mebibytes {mebibytes} --runs {runs}"
            script = f"cd /opt/bench; {command}"
            done = inside.execute(client, machine, ["sh", "-c", script])
            if done.returncode:
                raise UserError(done.stderr.decode(errors="replace"))
            measured: dict[str, tuple[float, int]] = json.loads(done.stdout)
            return measured
        finally:
            lifecycle.stop(directory)


def show(found: dict[str, tuple[float, int]]) -> None:
    """Print what was measured, the two ratios, and how far they are Docker's."""
    print(STAND_INS)
    for way, (seconds, used) in found.items():
        print(f"{way:18} {seconds:6.1f} s {used / MEBIBYTE:6.0f} MiB")
    (was, was_used), (ours, used) = found["documented"], found["ours"]
    docker, docker_used = found["Docker alone"]
    print(f"time, documented / ours: {was / ours:.2f} (aim 2; Docker alone {was / docker:.2f})")
    least = docker_used / was_used
    print(f"disk, ours / documented: {used / was_used:.2f} (aim 0.5; Docker alone {least:.2f})")
    print(f"Docker alone takes {docker / ours:.0%} of our time; its layers are not compressed")


def main() -> None:
    """Measure, and print both ratios of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the archive")
    parser.add_argument("--runs", type=int, default=2, help="of each way; the fastest counts")
    parser.add_argument("--here", action="store_true", help="measure this machine")
    parser.add_argument("--json", action="store_true", help="for scripts: seconds and bytes")
    parser.add_argument("--phase", nargs=2, metavar=("URL", "SHA256"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.phase:
        phase(*asked.phase)
        return
    found = (measure if asked.here else on_a_machine)(asked.mebibytes, asked.runs)
    if asked.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
