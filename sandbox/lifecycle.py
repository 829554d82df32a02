"""Starting, finding and stopping the sandbox's background process, one per directory.

Whether the process lives is known from the lock it holds, which the kernel lets go of at any death:
a stale process id, or one that now belongs to another program, cannot mislead.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from .machines.availability import Machines
from .machines.leftovers import PrivateDocker, clean

IMAGES = "images.json"
"""Name of the file in a sandbox's directory that says which images of a real account it shows stand-ins of."""
START_SECONDS = 60
"""Longest wait for a start; two or three seconds are usual."""
STOP_SECONDS = 30
"""Longest wait for the process to end by itself before it is killed."""
_PAUSE_SECONDS = 0.05
_EMPTY_PROFILE = "[default]\n"
# Every other way than a key by which the AWS SDKs find credentials. Emptied and not removed, so that
# it does not matter how the caller merges the variables.
_CREDENTIALS = {
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECURITY_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
}


class SandboxError(Exception):
    """The sandbox cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox: an AWS API and a provider for Pulumi, on this computer alone."""

    identity: str
    """Random and new at every start: a caller that knows another one has lost its AWS."""
    pid: int
    aws_endpoint: str
    """The AWS API, as http://127.0.0.1:PORT."""
    provider_port: int
    """The loopback port of the gRPC server of the provider `aws`."""
    command_port: int
    """The same of the provider `command`."""
    docker_port: int
    """The same of the provider `docker`."""
    directory: Path
    docker_host: str | None = None
    """The Docker in which its machines run, as for `docker -H`; None where they do not boot."""
    ssh_agent: str | None = None
    """The socket of an SSH agent with the key of its hosts; None where none of them boots, or OpenSSH is missing."""

    @property
    def started(self) -> datetime:
        """When it began, with an empty AWS and no hosts."""
        return datetime.fromtimestamp((self.directory / "daemon.json").stat().st_mtime, UTC)

    @property
    def machines(self) -> bool:
        """Whether the machines really boot."""
        return self.docker_host is not None

    def environment(self, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables to set over `inherited` (this process's own by default).

        With them every AWS client, in any language, reaches the sandbox and nothing else: whatever
        profile, token, role or service endpoint the user has set is replaced by a harmless value.
        """
        base = os.environ if inherited is None else inherited
        region = _region(base)
        return {
            **_neutralised(base, self.aws_endpoint),
            "AWS_ENDPOINT_URL": self.aws_endpoint,
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_SESSION_TOKEN": "",
            "AWS_PROFILE": "default",
            "AWS_CONFIG_FILE": str(self.directory / "aws-profile"),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,  # the one that boto3 reads
            "NO_PROXY": _no_proxy(base),
            "no_proxy": _no_proxy(base),
            "PULUMI_DEBUG_PROVIDERS": (
                f"aws:{self.provider_port},command:{self.command_port},docker:{self.docker_port}"
            ),
            "SANDBOX_MACHINES": "on" if self.machines else "off",
            # Instead of the user's own, whose keys are nothing that a rehearsal should offer.
            **({"SSH_AUTH_SOCK": self.ssh_agent} if self.ssh_agent else {}),
        }


def start(directory: Path, aws_port: int = 0, machines: Machines | None = None) -> Sandbox:
    """The sandbox of `directory`: the running one, or a new one with an empty AWS.

    `aws_port` 0 lets the system choose a free port. `machines` is what
    `sandbox.machines.availability.prepare` gave; without it machines are only recorded. Raises
    SandboxError where the port is taken, or the process does not answer in time.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    with _exclusively(directory):
        if _is_alive(directory):
            return _running(directory, aws_port)
        if aws_port:
            _require_free(aws_port)
        return _started(directory, aws_port, machines)


def find(directory: Path) -> Sandbox | None:
    """The running sandbox of `directory`, when its process lives and all of its ports answer."""
    directory = directory.absolute()
    if not _is_alive(directory):
        return None
    sandbox = _recorded(directory)
    return sandbox if sandbox and _answers(sandbox) else None


def stop(directory: Path) -> bool:
    """End the sandbox of `directory` and forget its AWS; False where none was running."""
    directory = directory.absolute()
    if not _is_alive(directory):
        clean(PrivateDocker(directory / "machines"))
        return False
    with _exclusively(directory):
        sandbox = _recorded(directory)
        if sandbox is None:
            # its process ends by itself where no file names it
            if _until(lambda: not _is_alive(directory), STOP_SECONDS):
                clean(PrivateDocker(directory / "machines"))
                return True
            raise SandboxError(
                f"{directory}/daemon.lock is held and {directory}/daemon.json is unreadable: end"
                f" the process that holds it (fuser {directory}/daemon.lock)"
            )
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _is_alive(directory):
                os.kill(sandbox.pid, number)
            if _until(lambda: not _is_alive(directory), STOP_SECONDS):
                (directory / "daemon.json").unlink(missing_ok=True)
                clean(PrivateDocker(directory / "machines"))
                return True
    raise SandboxError(f"process {sandbox.pid} of {directory} does not end: kill -9 {sandbox.pid}")


def _started(directory: Path, aws_port: int, machines: Machines | None) -> Sandbox:
    clean(PrivateDocker(directory / "machines"))
    identity = secrets.token_hex(8)
    (directory / "aws-profile").write_text(_EMPTY_PROFILE)
    (directory / "daemon.json").unlink(missing_ok=True)
    log = directory / "daemon.log"
    command = [sys.executable, "-m", "sandbox.daemon", str(directory), identity]
    if machines:
        command += ["--machine-image", str(machines.archive)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--aws-port", str(aws_port), "--region", _region(os.environ)],
            cwd=Path(__file__).parents[1],
            env=_without_aws(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # outlives the terminal and its Ctrl-C
        )

    def ready() -> bool:
        sandbox = _recorded(directory)
        return process.poll() is not None or (
            sandbox is not None and sandbox.identity == identity and _answers(sandbox)
        )

    if not _until(ready, START_SECONDS):
        process.kill()
        raise SandboxError(f"the sandbox did not answer in {START_SECONDS} s: read {log}")
    sandbox = _recorded(directory)
    if process.poll() is not None or sandbox is None:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise SandboxError(f"the sandbox ended at once: {lines[-1] if lines else ''} (see {log})")
    return sandbox


def _running(directory: Path, aws_port: int) -> Sandbox:
    sandbox = _recorded(directory)
    if sandbox is None or not _answers(sandbox):
        raise SandboxError(
            f"the sandbox of {directory} is running and does not answer: stop it, then start it"
            f" again (its log is {directory}/daemon.log)"
        )
    port = urlsplit(sandbox.aws_endpoint).port
    if aws_port not in (0, port):
        raise SandboxError(
            f"the sandbox of {directory} already runs on port {port}: stop it before you start it"
            f" on port {aws_port}"
        )
    return sandbox


def _recorded(directory: Path) -> Sandbox | None:
    try:
        content = json.loads((directory / "daemon.json").read_text())
        return Sandbox(**content, directory=directory)
    except (OSError, ValueError, TypeError):
        return None


def _is_alive(directory: Path) -> bool:
    """Whether a process holds the lock that only the sandbox of this directory takes."""
    try:
        with (directory / "daemon.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _answers(sandbox: Sandbox) -> bool:
    aws_port = urlsplit(sandbox.aws_endpoint).port or 0
    ports = (aws_port, sandbox.provider_port, sandbox.command_port, sandbox.docker_port)
    return all(_connects(port) for port in ports)


def _connects(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SandboxError(
                f"port {port} cannot be used for the sandbox ({error.strerror}); it is held by"
                f" {_holder(port)}: end that, or choose another port, or 0 for any free one"
            ) from error


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if (connection.status, connection.laddr[1:]) == (psutil.CONN_LISTEN, (port,)):
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"process {connection.pid} ({command})"
    return f"another process (lsof -iTCP:{port} -sTCP:LISTEN names it)"


def _neutralised(inherited: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """A harmless value for every variable of the user's that could lead to another AWS."""
    harmless = {name: "" for name in inherited if name in _CREDENTIALS}
    harmless |= {name: "false" for name in inherited if name.startswith("AWS_USE_")}
    harmless |= {name: endpoint for name in inherited if name.startswith("AWS_ENDPOINT_URL_")}
    if "AWS_DEFAULT_PROFILE" in inherited:
        harmless["AWS_DEFAULT_PROFILE"] = "default"
    return harmless


def _without_aws(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process itself, in which nothing of the user's AWS is left."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("AWS_")}
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    proxy = {"NO_PROXY": _no_proxy(inherited), "no_proxy": _no_proxy(inherited)}
    return {**kept, **nowhere, **proxy}


def _region(inherited: Mapping[str, str]) -> str:
    return inherited.get("AWS_REGION") or inherited.get("AWS_DEFAULT_REGION") or "us-east-1"


def _no_proxy(inherited: Mapping[str, str]) -> str:
    present = inherited.get("NO_PROXY") or inherited.get("no_proxy") or ""
    return ",".join(filter(None, [present, "127.0.0.1", "localhost"]))


@contextlib.contextmanager
def _exclusively(directory: Path) -> Iterator[None]:
    """One start or stop at a time."""
    with (directory / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(_PAUSE_SECONDS)
    return condition()
