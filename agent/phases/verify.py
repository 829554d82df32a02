"""Phase verify, and the watch afterwards: is this node, as seen from itself, what the specification says?"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from agent import (
    limits,
)
from agent.containers import (
    engine,
)
from agent.containers.compose import Compose
from agent.containers.engine import Container, EngineError
from agent.data import (
    database_folder,
    endpoints,
)
from agent.data.redis_client import Redis, RedisError
from agent.failures import Failure, NotProvenError
from agent.folders import (
    nfs_server,
    node_folder,
)
from agent.gpu import (
    gpus,
)
from agent.gpu.gpu_health import Health
from agent.gpu.gpus import GpuFailure
from agent.graphistry import (
    connections,
    customization,
    published_ports,
    telemetry,
    web,
    wiring,
)
from agent.graphistry.door import OWN_PAGE, PROBE
from agent.machine import (
    disk_growth,
    disk_space,
)
from agent.node import Node
from agent.phases import (
    firewall,
    shared_folder,
    tunnel,
)
from agent.phases.configure import reads_custom_env, variable_problem, wanted_wiring
from agent.phases.disks import growing
from agent.phases.start import described, unwell
from agent.specification import HostPlace, NfsOnLeader

REDIS_PORT = 6379
GPU_USER = "forge-etl-python"
"""The service whose container is asked for its GPUs; without them it is soon unhealthy itself."""
PAGES = (OWN_PAGE, PROBE, "/streamgl-gpu/secondary/gpu/health")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Check:
    """What one look has found; *failure* is None where all is well."""

    name: str
    detail: str
    failure: Failure | None


class Memory:
    """What earlier looks at a node have seen and the next one need not ask for again."""

    def __init__(self) -> None:
        self.health = Health()
        self._paced: dict[str, tuple[float, object, Any]] = {}

    def paced(self, name: str, about: object, ask: Callable[[], Answer]) -> Answer:
        """What *ask* says, or said about the same within GPUS seconds; what it raises is not remembered."""
        known = self._paced.pop(name, None)
        if known is None or known[1] != about or time.monotonic() - known[0] >= limits.GPUS:
            known = (time.monotonic(), about, ask())
        self._paced[name] = known
        found: Answer = known[2]
        return found


def verify(node: Node) -> None:
    """Raises the first Failure of all checks, once all have been made and told.

    A leader that does not answer, or not yet, is waited for: it restarts its services when its own specification
    changes.
    """
    end, memory = time.monotonic() + limits.PATIENCE, Memory()
    while True:
        failures = {each.name: each.failure for each in look(node, memory) if each.failure}
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


def look(node: Node, memory: Memory) -> list[Check]:
    """Make all checks and tell the report; causes come before what they cause."""
    checks: list[Check] = []
    compose = Compose(node.folder)
    services = functools.lru_cache(maxsize=None)(compose.services)  # Python 3.8 has no other
    seen: list[Container] = []

    def containers() -> list[Container]:
        seen.extend([] if seen else compose.containers())
        return seen

    looks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("tunnel", lambda: _tunnel(node)),
        ("sharedFolder", lambda: _shared_folder(node)),
        ("disks", lambda: _disks(node)),
        ("exports", lambda: _exports(node)),
        ("firewall", lambda: _firewall(node)),
        ("gpus", lambda: memory.paced("gpus", None, lambda: _gpus(node))),
        ("gpuHealth", lambda: memory.health.look(node, driver_answers=not checks[-1].failure)),
        ("postgres", lambda: endpoints.ask_postgres(node)),
        ("redis", lambda: endpoints.ask_redis(node)),
        ("containerGpus", lambda: _container_gpus(node, memory, compose, containers())),
        ("services", lambda: _services(compose, services(), containers())),
        ("serviceFolder", lambda: _service_folder(node, containers(), services())),
        ("database", lambda: database_folder.look(node.specification, containers())),
        ("ports", lambda: _ports(node, memory, containers())),
        ("connections", lambda: _connections(node, memory, containers())),
        ("streamglRedis", lambda: _own_redis(services(), containers())),
        ("http", lambda: _http(node, services(), containers)),
        ("wiring", lambda: _wiring(node, services(), containers())),
    )
    for name, function in looks:
        if name in _absent(node):
            continue
        if name == "serviceFolder" and any(c.failure for c in checks if c.name == "sharedFolder"):
            continue  # services cannot hold what is away, and would hang whoever looks
        try:
            check = Check(name, function(), None)
        except NotProvenError as why:
            node.report.not_proven(name, str(why))
            continue
        except Failure as failure:
            check = Check(name, failure.message, failure)
        node.report.check(name, check.failure is None, check.detail)
        checks.append(check)
    return checks


def _absent(node: Node) -> list[str]:
    """The checks of what only some nodes have."""
    has = {
        "tunnel": node.specification.tunnel is not None,
        "database": node.specification.runs_data_services,
        "exports": isinstance(node.specification.share, NfsOnLeader),
    }
    return [name for name, is_here in has.items() if not is_here]


def _tunnel(node: Node) -> str:
    failure = tunnel.problem(node.specification)
    if failure:
        raise failure
    return tunnel.described(node.specification)


def _disks(node: Node) -> str:
    stuck = disk_growth.follow_disks(node, growing(node.specification))
    found = disk_space.read(node.specification)
    node.report.set(
        disks=[each.described() for each in found],
        warnings=[
            *stuck,
            *disk_space.warnings(found),
            *shared_folder.warnings(node),
            *node.left_here,
            *customization.warnings(node),
        ],
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
    return firewall.described(node.specification)


def _shared_folder(node: Node) -> str:
    shared_folder.require_whole(node)
    node_folder.hold(node)
    found = f"{node.specification.shared_folder} is mounted, this cluster's and writable"
    own = f"{node_folder.path(node.specification)} has this node's {', '.join(node.kept)}"
    return f"{found}; {own}" if node.kept else found


def _service_folder(node: Node, containers: list[Container], services: dict[str, Any]) -> str:
    held = shared_folder.holders(node, services)
    own = node_folder.volumes(node, services)
    whole = {target for target in held.values() if target}
    if not whole:
        raise Failure("ConfigurationIgnored", shared_folder.no_holder(node))
    asked: list[tuple[Container, str]] = []
    for each in containers:
        kept = own.get(each.service, [])
        wrong = node_folder.missing(node, each, kept)
        if wrong is not None:
            raise Failure(
                "SharedFolderUnmounted",
                f"in the container {each.service}, {wrong} is not in {node_folder.path(node.specification)}",
            )
        # Also where the configuration promises another folder there, or the container is older than it.
        targets = {mount.target for mount in each.mounts} & whole - {one["target"] for one in kept}
        wanted = sorted({*targets, *filter(None, [held.get(each.service)])})
        asked += [(each, target) for target in wanted if each.process]
    if not asked:
        raise NotProvenError("no service that holds it runs")
    if not shared_folder.are_held(asked):
        for each, target in asked:
            if not shared_folder.is_held(each, target):
                raise Failure(
                    "SharedFolderUnmounted",
                    f"in the container {each.service}, {target} is not the shared folder",
                )
    return f"seen by {', '.join(dict.fromkeys(each.service for each, _ in asked))}"


def _gpus(node: Node) -> str:
    found = gpus.read()
    node.report.set(gpus=[each.described() for each in found])
    gpus.require(found, node.specification.gpus, node.gpus_of_type)
    return f"{len(found)} of {node.specification.gpus}"


def _services(compose: Compose, merged: dict[str, Any], containers: list[Container]) -> str:
    ill = unwell(merged, containers)
    if ill:
        raise Failure(
            "ServiceUnhealthy",
            f"not well: {described(ill, containers, merged)}",
            compose.logs(ill[0]),
        )
    return f"{len(merged)} healthy"


def _ports(node: Node, memory: Memory, containers: list[Container]) -> str:
    problem = published_ports.problem(node, containers)
    if problem:
        raise Failure("PortsOpen", problem)
    # Paced as connections are: whoever asks who listens is shown the kernel's whole table.
    open_ports = memory.paced("telemetry", _starts(containers), lambda: telemetry.found(containers))
    told = telemetry.described(node.specification, open_ports)
    if isinstance(node.specification.place, HostPlace):
        _warn(node, told)
    return "; ".join([published_ports.described(node, containers), *told])


def _warn(node: Node, told: list[str]) -> None:
    """Add to what the check of the disks has begun in this look."""
    known = node.report.document["warnings"]
    node.report.set(warnings=[*known, *(each for each in told if each not in known)])


def _connections(node: Node, memory: Memory, containers: list[Container]) -> str:
    """What is not there proves nothing: clients may connect when they are used, and not before.

    Paced, as the kernel walks its whole table of connections for each container that is asked.
    """
    return memory.paced("connections", _starts(containers), lambda: _connected(node, containers))


def _starts(containers: list[Container]) -> tuple[tuple[str, str], ...]:
    """What changes when one of them is made or started anew."""
    return tuple((each.identifier, each.started) for each in containers)


def _connected(node: Node, containers: list[Container]) -> str:
    try:
        seen = connections.seen(node.specification, containers)
    except OSError as error:
        raise NotProvenError(f"the leader's address: {error.strerror}") from error
    wrong = [str(each) for each in seen if not each.is_right]
    if wrong:
        raise Failure("ConnectedElsewhere", "; ".join(wrong))
    if not seen:
        raise NotProvenError("no service is connected just now")
    return ", ".join(map(str, seen))


def _own_redis(services: dict[str, Any], containers: list[Container]) -> str:
    running = _running("redis", containers)
    if running is None:
        raise Failure("ServiceUnhealthy", "this node's own Redis does not run")
    password = wiring.environment_of(services.get("redis", {})).get("REDISCLI_AUTH") or None
    try:
        with Redis(running.address or "127.0.0.1", REDIS_PORT, password) as redis:
            redis.call("PING")
    except (RedisError, OSError):
        _ping_inside(running)
    return "this node's own Redis answers"


def _ping_inside(container: Container) -> None:
    """Not every network can be reached from the machine: the service itself has the last word, by its own client."""
    try:
        done = engine.execute(container.identifier, ["redis-cli", "ping"], seconds=20)
    except EngineError as error:
        raise Failure("ServiceUnhealthy", f"this node's own Redis: {error}") from error
    if "PONG" not in done.output:
        said = (done.output.strip() or done.errors.strip()).splitlines()[-1:] or ["nothing"]
        raise Failure("ServiceUnhealthy", f"this node's own Redis: {said[0]}")


def _running(service: str, containers: list[Container]) -> Container | None:
    return next((c for c in containers if c.service == service and c.state == "running"), None)


def _container_gpus(
    node: Node, memory: Memory, compose: Compose, containers: list[Container]
) -> str:
    running = [each for each in containers if each.service == GPU_USER and each.state == "running"]
    if not running:
        raise Failure("ServiceUnhealthy", f"{GPU_USER} does not run", compose.logs(GPU_USER))
    return memory.paced(
        "containerGpus",
        _starts(running),
        lambda: [_gpus_inside(node, each) for each in running][-1],
    )


def _gpus_inside(node: Node, container: Container) -> str:
    try:
        done = engine.execute(container.identifier, ["nvidia-smi", "-L"], seconds=30)
    except EngineError as error:
        raise Failure("DockerUnavailable", str(error)) from error
    count = sum(line.startswith("GPU ") for line in done.output.splitlines())
    if not done.succeeded or count < node.specification.gpus:
        tail = done.tail()[-1:] or [f"status {done.status}"]
        seen = f"{count} of {node.specification.gpus} GPUs" if done.succeeded else tail[0]
        raise Failure("GpuUnavailable", f"in the container {GPU_USER}: {seen}", done.tail())
    return f"{GPU_USER} sees {count}"


def _http(node: Node, services: dict[str, Any], containers: Callable[[], list[Container]]) -> str:
    door = web.enter(node.folder, services, containers)
    if not door.is_found:
        raise NotProvenError(door.why)  # a redirect is alive
    pages = [each for each in PAGES if each != OWN_PAGE or not door.is_behind]
    for page in pages:
        try:
            # Whoever has found the door has asked for this page.
            status = door.answered if page == PROBE and door.answered else web.status(page)
        except web.WebError as error:
            raise Failure("ServiceUnhealthy", str(error)) from error
        if not 200 <= status < 300:
            raise Failure("ServiceUnhealthy", f"{page} answers {status}")
    answer = f"{', '.join(pages)} answer"
    return f"{answer}; {door.why}" if door.why else answer


def _wiring(node: Node, services: dict[str, Any], containers: list[Container]) -> str:
    problem = variable_problem(node.specification, services)
    if problem:
        raise Failure("ConfigurationIgnored", problem)
    wanted = wanted_wiring(node, services)
    is_read = reads_custom_env(wanted)
    variables = node.specification.variables
    _warn(node, customization.without_effect(variables, services, is_read=is_read))
    wrong = wiring.differences(wanted, services)
    if wrong:
        raise Failure("ComposeOverrideIgnored", f"the release now has its own {', '.join(wrong)}")
    old = wiring.outdated(wanted, containers)
    if old:
        raise Failure("ComposeOverrideIgnored", f"running containers have other {', '.join(old)}")
    if node.specification.runs_data_services:
        return "PostgreSQL and Redis are published on the private address only"
    return "nexus and forge-etl-python use the leader's Redis, the others this node's"
