"""The sandbox's one background process: moto as the AWS API, and the provider on top of it.

Started by `sandbox.lifecycle`, which is also the only reader of what it writes. It holds the lock
file for as long as it lives, so that whether it lives is the kernel's answer and never a guess from
a process id.
"""

from __future__ import annotations

import argparse
import atexit
import fcntl
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lifecycle import IMAGES, Sandbox
from .refusals import Application, refusing

if TYPE_CHECKING:
    from .machines.keeper import Keeper

MOTO_SETTINGS = {
    # moto takes any AMI and any instance type unless told otherwise.
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1",
    "MOTO_ENABLE_AMI_VALIDATION": "1",
}
WATCH_SECONDS = 2
"""How often the process looks whether its directory still names it; it ends where it does not."""


def main() -> None:
    """Serve until told to stop, or until the directory belongs to another sandbox or is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("identity")
    parser.add_argument("--aws-port", type=int, default=0)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--machine-image", type=Path, help="boots machines with this base image")
    options = parser.parse_args()
    # moto and the schemas are here until the end: nothing of them is looked through again and again, or taken apart.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    # never closed by us: the kernel lets go of it when the process is really gone
    lock = os.open(options.directory / "daemon.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # waits for whoever looks, for an instant, whether it is held
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    os.environ.update(MOTO_SETTINGS)
    endpoint = serve_aws(options.aws_port, options.directory)

    from .provider import (
        capacity,
        command,
        docker_provider,
        images,
        launch_needs,
        price_list,
        quotas,
        replacements,
        reservations,
        service,
    )  # after the settings, which moto reads at import

    capacity.mend(options.directory / "shortages.json")
    quotas.mend(options.directory / "quotas.json")
    images.mend(options.directory / IMAGES)
    price_list.mend_spot(options.directory / "prices.json")
    reservations.mend(options.directory / "shortages.json")
    replacements.mend()
    launch_needs.mend(options.directory / "subscriptions.json")
    server, provider_port = service.serve(endpoint)
    commands: dict[str, str] = {}  # what they see of the sandbox, known once its ports are
    command_server, command_port = command.serve(commands)
    machines = start_machines(options.directory, options.machine_image, endpoint)
    docker_host = machines.place.host if machines else None
    ssh_agent = start_ssh_agent(options.directory, machines) if machines else None
    docker_server, docker_port = docker_provider.serve(options.directory, docker_host)
    state = options.directory / "daemon.json"
    recorded: dict[str, Any] = {
        "identity": options.identity,
        "pid": os.getpid(),
        "aws_endpoint": endpoint,
        "provider_port": provider_port,
        "command_port": command_port,
        "docker_port": docker_port,
        "docker_host": docker_host,
        "ssh_agent": ssh_agent,
    }
    commands.update(Sandbox(**recorded, directory=options.directory).environment())
    _write(state, recorded)
    threading.Thread(target=_prepare, args=(endpoint, options.region), daemon=True).start()
    while not stopped.wait(WATCH_SECONDS) and _names(state, options.identity):
        pass
    server.stop(grace=None)
    command_server.stop(grace=None)
    docker_server.stop(grace=None)
    if machines:
        stop_machines(machines)
    if _names(state, options.identity):
        state.unlink()


def serve_aws(port: int = 0, directory: Path | None = None) -> str:
    """The endpoint of a moto that serves in the background of this process, on the loopback.

    Beside it the Price List service and Data Lifecycle Manager answer. The files of *directory* set prices and what
    AWS refuses.
    """
    from .provider import billing, price_list, snapshot_policies
    from .provider.moto_gaps import mend_moto
    from .web_server import serve

    mend_moto()
    billing.mend()
    application = price_list.beside(aws_application(), directory and directory / "prices.json")
    application = snapshot_policies.beside(application)
    if directory:
        application = refusing(application, directory / "refusals.json")
    return f"http://127.0.0.1:{serve(application, '127.0.0.1', port).server_port}"


@cache
def aws_application() -> Application:
    """moto as one WSGI application, however many addresses it is served on."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    return _one_at_a_time(DomainDispatcherApplication(create_backend_app))


def start_machines(directory: Path, image: Path | None, endpoint: str) -> Keeper | None:
    """The machines of the sandbox, where they were asked for and can be had."""
    if image is None:
        return None
    from .machines import keeper
    from .machines.commands import MachineError

    try:
        return keeper.start(directory, image, aws_application(), endpoint)
    except MachineError as error:
        logging.error("machines are recorded and do not boot: %s", error)
        return None


def stop_machines(machines: Keeper) -> None:
    """End what `start_machines` has started."""
    from .machines import keeper

    keeper.stop(machines)


def start_ssh_agent(directory: Path, machines: Keeper) -> str | None:
    """The socket of an agent that opens the hosts among the machines, for this process and for others."""
    from .machines import ssh_agent
    from .machines.commands import MachineError

    try:
        started = ssh_agent.start(directory, machines.place)
    except MachineError as error:
        logging.error("hosts are reached by a key of the stack alone: %s", error)
        return None
    os.environ["SSH_AUTH_SOCK"] = started
    return started


def _prepare(endpoint: str, region: str) -> None:
    """Register the stand-in images before the first run asks, and load what it will need."""
    from .provider import moto_gaps, resources
    from .provider.aws import Aws

    moto_gaps.prepare_region(Aws(endpoint, region))
    resources.load_schemas()


def _one_at_a_time(application: Application) -> Application:
    """moto's memory is not made for requests at the same time, which Pulumi sends by the dozen."""
    from .provider.moto_gaps import MEMORY

    def serialized(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with MEMORY:
            return list(application(environ, start_response))

    return serialized


def _names(state: Path, identity: str) -> bool:
    try:
        return bool(json.loads(state.read_text())["identity"] == identity)
    except (OSError, ValueError, KeyError):
        return False


def _write(state: Path, content: dict[str, Any]) -> None:
    draft = state.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    draft.replace(state)


if __name__ == "__main__":
    main()
