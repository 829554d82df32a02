"""A container in the user's own Docker in which machines boot, where they cannot boot directly.

Inside, the operator's commands are root on Debian, and everything else is as it is there: the
sandbox's private Docker runs in the container, which has the checkout at the same path. What a
sandbox writes is in volumes: a shared folder of Docker Desktop cannot hold a Docker's data, the
user's own .venv may be of another system, and files of root's are nothing for the user's checkout.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.machines.availability import impossible
from sandbox.machines.commands import MachineError
from sandbox.user_cache import Say

DOCKERFILE = Path(__file__).with_name("Dockerfile")
ANSWER_SECONDS = 15
"""Longest wait for a Docker to say that it is there."""
SECONDS = 60
"""Longest that a quick command of Docker's may take."""
BUILD_SECONDS = 1800
"""Bound on the build of the container's image; 40 s measured, and the download of a Debian."""

CACHE = "graphistry-workbench-cache"
"""The volume with the engine and the machines' image, for all checkouts."""
OWN = (".sandbox", ".venv")
"""Folders of the checkout that are volumes in the container."""

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Docker takes these into a build too."""
FILES = ("CURL_CA_BUNDLE", "PIP_CERT", "PIP_CONFIG_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file, which the container gets at the same path."""
VARIABLES = {
    *PROXIES,
    *FILES,
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
    *("GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "TERM", "NO_COLOR"),
}
"""The user's settings that hold in the container too."""
PREFIXES = ("SANDBOX_", "GRAPHISTRY_CLUSTER_")
"""The same, of this program."""
HOME_FILES = (".config/pip/pip.conf", ".config/go/env")
"""Where else a user says from where packages come."""

# A container's /dev is a copy, in which disks that are attached later have no names. The disks of a
# workbench that was killed are still attached; their files have lost the folder they were in. All
# this fails where a privileged container is not root of the computer.
_READY = """set -e
for number in $(seq 0 255); do
  test -e /dev/loop$number || mknod -m 660 /dev/loop$number b 7 $number
done
unshare --net --mount losetup --find
losetup --list --noheadings --output NAME,BACK-FILE | while read -r device file; do
  case $file in /machines/volumes/* | /machines/dockers/*) losetup --detach $device ;; esac
done
"""
_COMMAND = 'echo $$ > /run/$0; make --silent .venv/ready && exec .venv/bin/python -m operate "$@"'


@dataclass(frozen=True)
class Workbench:
    """The container of one checkout."""

    checkout: Path

    @property
    def name(self) -> str:
        """Of the container; those of its volumes begin with it."""
        return f"graphistry-workbench-{_digest(str(self.checkout).encode())}"

    @property
    def shell(self) -> str:
        """The command that opens a shell in it."""
        return f"docker exec -it -w {self.checkout} {self.name} bash"

    def run(self, arguments: list[str]) -> int:
        """Run a command of the operator's with the caller's terminal; return its exit status.

        Ctrl-C reaches the command, and its end is waited for.
        """
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        identity = f"command-{os.getpid()}"
        command = ["docker", "exec", "--interactive", *(["--tty"] if terminal else [])]
        command += ["--workdir", str(self.checkout)]
        for name in sorted(os.environ):
            if name in VARIABLES or name.startswith(PREFIXES):
                command += ["--env", name]  # without its value, which may be a secret
        command += [self.name, "sh", "-c", _COMMAND, identity, *arguments]

        def interrupt(*_: object) -> None:
            with suppress(MachineError):  # it is not there yet, or not any more
                _docker("exec", self.name, "sh", "-c", f"kill -INT -$(cat /run/{identity})")

        # Without a terminal in between, Ctrl-C would end docker and leave the command to itself.
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            return subprocess.run(command, start_new_session=not terminal).returncode
        finally:
            signal.signal(signal.SIGINT, before)

    def close(self, say: Say) -> None:
        """Remove the container unless its sandbox runs; the volumes stay."""
        lock = str(self.checkout / ".sandbox" / "daemon.lock")
        try:
            _docker("exec", self.name, "flock", "--nonblock", "--shared", lock, "true")
            _docker("rm", "--force", self.name)
        except MachineError:
            return
        say("workbench container removed; what took minutes stays in volumes of your Docker")


def find(checkout: Path) -> Workbench | None:
    """The workbench of a checkout, where machines need one and it runs."""
    bench = Workbench(checkout)
    return bench if _is_needed() and _runs(bench) else None


def inside(checkout: Path) -> Workbench | None:
    """The workbench of a checkout, where this process runs in it."""
    bench = Workbench(checkout)
    return bench if socket.gethostname() == bench.name else None


def start(checkout: Path, say: Say) -> Workbench | None:
    """The workbench of a checkout, built and started if need be, where machines need one.

    None where they do not, where no Docker answers, and where it cannot boot them, which is said.
    Takes half a second, the first time one to two minutes.
    """
    if not _is_needed() or not _answers():
        return None
    bench = Workbench(checkout)
    try:
        for folder in (*OWN, ".build"):  # or Docker makes them, and they are root's
            (checkout / folder).mkdir(exist_ok=True)
        with _exclusively(checkout / ".sandbox" / "workbench.lock"):
            if not _runs(bench):
                _start(bench, say)
    except (MachineError, OSError) as error:
        say(f"your Docker can boot no machines: {error}")
        return None
    return bench


def _is_needed() -> bool:
    return os.environ.get("SANDBOX_MACHINES") != "off" and impossible() is not None


def _answers() -> bool:
    try:
        _docker("version", seconds=ANSWER_SECONDS)
    except MachineError:
        return False
    return True


def _runs(bench: Workbench) -> bool:
    try:
        _docker("container", "inspect", bench.name, seconds=ANSWER_SECONDS)
    except MachineError:
        return False
    return True


def _start(bench: Workbench, say: Say) -> None:
    image = f"graphistry-workbench:{_digest(DOCKERFILE.read_bytes())}"
    if _docker("images", "--quiet", image):
        say("starting the workbench container in your Docker; `./cluster down` ends it")
    else:
        say(
            "building a workbench container in your Docker, in which the machines boot, and a .venv in it: once, "
            "1 to 2 minutes; `./cluster down` ends it"
        )
        proxies = [f"--build-arg={name}" for name in PROXIES if name in os.environ]
        recipe = DOCKERFILE.read_bytes()
        _docker("build", *proxies, "--tag", image, "-", stdin=recipe, seconds=BUILD_SECONDS)
    root = bench.checkout
    mounts = [f"type=bind,source={root},target={root}", f"type=tmpfs,target={root}/.build"]
    mounts += [f"type=volume,source={bench.name}{each},target={root / each}" for each in OWN]
    mounts += [f"type=volume,source={CACHE},target=/root/.cache/graphistry-cluster"]
    options = ["--privileged", "--cgroupns=host", f"--env=PYTHONPYCACHEPREFIX={root}/.venv/pycache"]
    options += [f"--mount={mount}" for mount in mounts]
    # The name of a host is in Pulumi's locks, by which a later container knows the dead runs of this one.
    options += ["--name", bench.name, "--hostname", bench.name]
    _docker("run", "--detach", "--rm", *options, image)
    try:
        _docker("exec", bench.name, "sh", "-c", _READY)
        _docker("cp", "-", f"{bench.name}:/", stdin=_settings())
    except MachineError:
        _docker("rm", "--force", bench.name)
        raise


def _settings() -> bytes:
    """An archive of the files that say from where packages come and whom to trust."""
    files = {Path(os.environ[name]): os.environ[name] for name in FILES if name in os.environ}
    files |= {Path.home() / name: f"root/{name}" for name in HOME_FILES}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", dereference=True) as tar:
        for file, name in files.items():
            if file.is_absolute() and file.is_file():
                tar.add(file, name)
    return stream.getvalue()


def _docker(*arguments: str, stdin: bytes = b"", seconds: float = SECONDS) -> str:
    """What a command of the user's Docker prints; MachineError with its own words where it fails."""
    program = shutil.which("docker")
    if program is None:
        raise MachineError("there is no docker on PATH")
    try:
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"docker {arguments[0]}: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").split("\n")
        words = [line.strip() for line in lines if line.strip()] or [f"status {done.returncode}"]
        errors = [line for line in words if "error" in line.lower()]
        raise MachineError(f"docker {arguments[0]}: {(errors or words)[-1]}")
    return done.stdout.decode(errors="replace").strip()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


@contextmanager
def _exclusively(lock: Path) -> Iterator[None]:
    """One start at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
