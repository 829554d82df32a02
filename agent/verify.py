"""Phase verify, and the watch afterwards: is this node, as seen from itself, what the specification says?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

from agent import (
    disk_growth,
    disk_space,
    endpoints,
    firewall,
    gpus,
    limits,
    nfs_server,
    shared_folder,
    web,
    wiring,
)
from agent.compose import Compose, Container
from agent.configure import variable_problem, wanted_wiring
from agent.disks import growing
from agent.failures import Failure
from agent.gpu_health import Health
from agent.gpus import GpuFailure
from agent.node import Node
from agent.specification import NfsOnLeader
from agent.start import described, unwell

GPU_USER = "forge-etl-python"
"""The service whose container is asked for its GPUs; without them it is soon unhealthy itself."""
PAGES = ("/caddy/health/", "/healthz", "/streamgl-gpu/secondary/gpu/health")


@dataclass(frozen=True)
class Check:
    """What one look has found; *failure* is None where all is well."""

    name: str
    detail: str
    failure: Failure | None


def verify(node: Node) -> None:
    """Raises the first Failure of all checks, once all have been made and told.

    A leader that does not answer, or not yet, is waited for: it restarts its services when its own specification
    changes.
    """
    end, health = time.monotonic() + limits.PATIENCE, Health()
    while True:
        failures = {each.name: each.failure for each in look(node, health) if each.failure}
        if not failures:
            return
        first = next(iter(failures.values()))
        away = any(each.code in endpoints.PASSING for each in failures.values())
        if not away or time.monotonic() > end:
            break
        print(f"waiting: {first.message}", flush=True)
        time.sleep(limits.POLL)
    others = "" if len(failures) == 1 else f" (failed checks: {', '.join(failures)})"
    if isinstance(first, GpuFailure):
        raise first
    raise Failure(first.code, f"{first.message}{others}", first.log, first.hint)


def look(node: Node, health: Health) -> list[Check]:
    """Make all checks and tell the report; causes come before what they cause."""
    checks: list[Check] = []
    compose = Compose(node.folder)
    merged: dict[str, Any] = {}
    seen: list[Container] = []

    def services() -> dict[str, Any]:
        """Read once a look: it takes most of its time."""
        merged.update(merged or compose.services())
        return merged

    def containers() -> list[Container]:
        seen.extend([] if seen else compose.containers())
        return seen

    looks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("sharedFolder", lambda: _shared_folder(node)),
        ("disks", lambda: _disks(node)),
        ("exports", lambda: _exports(node)),
        ("firewall", lambda: _firewall(node)),
        ("gpus", lambda: _gpus(node)),
        ("gpuHealth", lambda: health.look(node, driver_answers=checks[-1].failure is None)),
        ("postgres", lambda: endpoints.ask_postgres(node)),
        ("redis", lambda: endpoints.ask_redis(node)),
        ("containerGpus", lambda: _container_gpus(node, compose, containers())),
        ("services", lambda: _services(compose, services(), containers())),
        ("serviceFolder", lambda: _service_folder(node, compose, services())),
        ("streamglRedis", lambda: _own_redis(compose)),
        ("http", _http),
        ("wiring", lambda: _wiring(node, services())),
    )
    for name, function in looks:
        if name in _absent(node):
            continue
        if name == "serviceFolder" and checks[0].failure:
            continue  # services cannot hold what is away, and would hang whoever looks
        try:
            check = Check(name, function(), None)
        except Failure as failure:
            check = Check(name, failure.message, failure)
        node.report.check(name, check.failure is None, check.detail)
        checks.append(check)
    return checks


def _absent(node: Node) -> list[str]:
    """The checks of what only leaders of some sites have."""
    exports = isinstance(node.specification.share, NfsOnLeader)
    guarded = node.specification.firewall is not None
    return [*([] if exports else ["exports"]), *([] if guarded else ["firewall"])]


def _disks(node: Node) -> str:
    stuck = disk_growth.follow_disks(node, growing(node.specification))
    found = disk_space.read(node.specification)
    node.report.set(
        disks=[each.described() for each in found], warnings=[*stuck, *disk_space.warnings(found)]
    )
    disk_space.require_room(found, node.specification)
    return "; ".join([*map(str, found), *stuck]) or "none of its own"


def _exports(node: Node) -> str:
    share = node.specification.share
    assert isinstance(share, NfsOnLeader)  # noqa: S101, else the check is absent
    failure = nfs_server.problem(share)
    if failure:
        raise failure
    return f"{len(nfs_server.clients(share))} nodes may mount {share.folder}"


def _firewall(node: Node) -> str:
    failure = firewall.problem(node)
    if failure:
        raise failure
    return f"{len(firewall.allowed(node.specification))} nodes reach the data services, nobody else"


def _shared_folder(node: Node) -> str:
    shared_folder.require_whole(node)
    return f"{node.specification.shared_folder} is mounted, this cluster's and writable"


def _service_folder(node: Node, compose: Compose, services: dict[str, Any]) -> str:
    held = shared_folder.holders(node, services)
    name, target = next(((each, held[each]) for each in sorted(held) if held[each]), (None, None))
    if name is None or target is None:
        return "no service holds the whole shared folder"
    if not shared_folder.is_held(compose, name, target):
        raise Failure(
            "SharedFolderUnmounted", f"in the container {name}, {target} is not the shared folder"
        )
    return f"{name} sees it at {target}"


def _gpus(node: Node) -> str:
    found = gpus.read()
    node.report.set(gpus=[each.described() for each in found])
    gpus.require(found, node.specification.gpus, node.gpus_of_type)
    return f"{len(found)} of {node.specification.gpus}"


def _services(compose: Compose, merged: dict[str, Any], containers: list[Container]) -> str:
    ill = unwell(merged, containers)
    if ill:
        raise Failure(
            "ServiceUnhealthy", f"not well: {described(ill, containers)}", compose.logs(ill[0])
        )
    return f"{len(merged)} healthy"


def _own_redis(compose: Compose) -> str:
    # On the leader, the service's own REDISCLI_AUTH has the password.
    done = compose.execute("redis", ["redis-cli", "ping"], seconds=20)
    if "PONG" not in done.output:
        said = (done.output.strip() or done.errors.strip()).splitlines()[-1:] or ["nothing"]
        raise Failure("ServiceUnhealthy", f"this node's own Redis: {said[0]}")
    return "this node's own Redis answers"


def _container_gpus(node: Node, compose: Compose, containers: list[Container]) -> str:
    if not any(each.service == GPU_USER and each.state == "running" for each in containers):
        raise Failure("ServiceUnhealthy", f"{GPU_USER} does not run", compose.logs(GPU_USER))
    done = compose.execute(GPU_USER, ["nvidia-smi", "-L"], seconds=30)
    count = sum(line.startswith("GPU ") for line in done.output.splitlines())
    if not done.succeeded or count < node.specification.gpus:
        tail = done.tail()[-1:] or [f"status {done.status}"]
        seen = f"{count} of {node.specification.gpus} GPUs" if done.succeeded else tail[0]
        raise Failure("GpuUnavailable", f"in the container {GPU_USER}: {seen}", done.tail())
    return f"{GPU_USER} sees {count}"


def _http() -> str:
    for page in PAGES:
        try:
            status = web.status(page)
        except web.WebError as error:
            raise Failure("ServiceUnhealthy", str(error)) from error
        if not 200 <= status < 300:
            raise Failure("ServiceUnhealthy", f"{page} answers {status}")
    return f"{', '.join(PAGES)} answer"


def _wiring(node: Node, services: dict[str, Any]) -> str:
    problem = variable_problem(node.specification, services)
    if problem:
        raise Failure("ConfigurationIgnored", problem)
    wrong = wiring.differences(wanted_wiring(node, services), services)
    if wrong:
        raise Failure("ComposeOverrideIgnored", f"the release now has its own {', '.join(wrong)}")
    if node.specification.runs_data_services:
        return "PostgreSQL and Redis are published on the private address only"
    return "nexus and forge-etl-python use the leader's Redis, the others this node's"
