"""Phase start: the services, in the order in which a cluster comes to life."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Mapping

from agent import (
    limits,
)
from agent.containers.compose import UP_SECONDS, Compose, has_ended, is_well, replicas
from agent.containers.engine import Container
from agent.data import (
    endpoints,
    postgres_role,
    redis_users,
)
from agent.data.redis_client import RedisError
from agent.failures import Failure, NotProvenError
from agent.folders import (
    node_folder,
)
from agent.graphistry import (
    customization,
    users,
    visualization,
    web,
    wiring,
)
from agent.graphistry.door import Door
from agent.graphistry.vendor import UNIT_NAME
from agent.machine import (
    systemd,
)
from agent.machine.commands import run
from agent.node import Node
from agent.phases import (
    shared_folder,
)

WARM = Path("/run/graphistry-cluster-warm")
"""There once this boot has had its first visualization."""
REFUSALS = (400, 401, 403)
"""How the product answers a password that it does not take."""
PAUSE_SECONDS = 2
ASK_SECONDS = 10
"""Between two questions to nexus's Django shell, each of which costs seconds of a processor."""
ENDED_LOOKS = 3
"""A container between an end and its restart looks ended: only one that stays so has failed."""


def start(node: Node) -> None:
    """Bring the services up and wait until all are healthy."""
    compose = Compose(node.folder)
    _wait_for_boot()
    if not node.specification.runs_data_services:
        _wait_for_data_services(node)
    if node.specification.is_leader and not node.specification.runs_data_services:
        postgres_role.demote()
    # The first who signs up becomes administrator: nobody gets in by any node before there is one.
    services = compose.services()
    inside = {name: each for name, each in services.items() if not is_door(name, each)}
    compose.up(list(inside), "--no-deps")
    wait_until_healthy(compose, inside)
    if node.specification.is_leader:
        secret = node.secret
        _restrict_redis(node)
        made, others = users.ensure_administrator(compose, secret["adminPassword"])
        users.ensure(compose, users.SERVICE, secret["servicePassword"], is_admin=False)
    else:
        _wait_for_administrator(compose, [name for name in services if name not in inside])
    customization.renew(node, compose)
    compose.up()
    services = compose.services()
    _renew_holders(node, compose, services)
    wait_until_healthy(compose, services)
    door = web.enter(node.folder, services, compose.containers)
    if node.specification.is_leader:
        _prove_administrator(node, door, others, is_new=made)
    # Not before: the boot's own start lets users in, whether there is an administrator or not.
    _resume_unit()
    systemd.enable(UNIT_NAME)
    _warm_up(node, door)


def _prove_administrator(node: Node, door: Door, others: list[str], *, is_new: bool) -> None:
    """Sign in as the administrator who was just made, and tell of others: whoever was one before may have signed up
    when nobody was. Raises Failure AdministratorRefused where a new one's password does not let us in."""
    before = (
        f"; {', '.join(others)} {'was one before' if is_new else 'is one too'}" if others else ""
    )
    try:
        _sign_in(door, users.ADMIN, node.secret["adminPassword"], limits.PATIENCE if is_new else 0)
    except NotProvenError as why:
        node.report.not_proven("administrator", f"{why}{before}")
        return
    except web.WebError as error:
        if is_new and error.status in REFUSALS:
            raise Failure("AdministratorRefused", f"the new administrator: {error}") from error
        # Whoever is one already may have changed the password; a page that is somewhere else says nothing of it.
        words = f"{users.ADMIN} does not sign in with the secret's password ({error})"
        node.report.not_proven("administrator", f"{words}{before}")
        return
    node.report.check(
        "administrator",
        not (is_new and others),
        f"{users.ADMIN} signs in with the secret's password{before}",
    )


def _restrict_redis(node: Node) -> None:
    try:
        redis_users.restrict(node)
    except (RedisError, OSError) as error:
        raise Failure(
            "RedisRefused",
            f"Redis does not take the cluster's users: {error}; a restart of its container reads them from its file",
        ) from error


def is_door(name: str, service: Mapping[str, Any]) -> bool:
    """Whether a service of the merged configuration may let users in: it publishes ports that are no data service's.

    Nexus never is, whatever it publishes: without it nobody makes or finds an administrator.
    """
    is_open = bool(service.get("ports")) or service.get("network_mode") == "host"
    return is_open and name not in (*wiring.PUBLISHED, "nexus")


def _wait_for_administrator(compose: Compose, doors: list[str]) -> None:
    """Until the leader has made one, by what this node's nexus finds in the cluster's database; raises Failure."""
    end = time.monotonic() + limits.PATIENCE
    is_shut = False
    while True:
        missing = Failure(
            "AdministratorMissing",
            "the cluster has no administrator yet; this node's pages stay closed",
        )
        try:
            if users.has_administrator(compose):
                return
        except Failure as failure:
            missing = failure  # the leader may be migrating the database
        if doors and not is_shut:
            compose.stop(doors)  # of a time when there was one
            is_shut = True
        if time.monotonic() > end:
            raise missing
        print(f"waiting: {missing.message}", flush=True)
        time.sleep(ASK_SECONDS)


def _resume_unit() -> None:
    """Start the release's unit where it has ended since the boot: it follows Docker only while it is active.

    It ends with Docker, as when that is moved to a local disk, and does not begin without the shared folder.
    """
    is_enabled = run(["systemctl", "is-enabled", UNIT_NAME]).output.strip() == "enabled"
    if is_enabled and run(["systemctl", "is-active", UNIT_NAME]).output.strip() != "active":
        run(["systemctl", "start", UNIT_NAME], seconds=UP_SECONDS)


def _renew_holders(node: Node, compose: Compose, services: dict[str, Any]) -> None:
    """At boot Docker starts containers by itself, be the folder below them mounted or not."""
    held = shared_folder.holders(node, services)
    own, containers = node_folder.volumes(node, services), compose.containers()
    targets = ((each, held.get(each.service)) for each in containers)
    has_whole = all(shared_folder.is_held(each, target) for each, target in targets if target)
    if has_whole and not any(
        node_folder.missing(node, each, own.get(each.service, [])) for each in containers
    ):
        return
    print(f"restarting what began without the shared folder: {', '.join(held)}", flush=True)
    done = compose.restart(list(held))
    if not done.succeeded:
        raise Failure("ServicesNotStarted", "./graphistry restart has failed", done.tail())


def _wait_for_boot() -> None:
    """Two `up` at once get into each other's way: let the boot's own one end."""
    end = time.monotonic() + limits.HEALTH
    while time.monotonic() < end:
        if run(["systemctl", "is-active", UNIT_NAME]).output.strip() != "activating":
            return
        time.sleep(1)


def _wait_for_data_services(node: Node) -> None:
    """Until the cluster's PostgreSQL answers; raises Failure for what waiting does not change, or at the end of it."""
    end = time.monotonic() + limits.PATIENCE
    while True:
        try:
            endpoints.ask_postgres(node)
        except Failure as failure:
            if failure.code not in endpoints.PASSING or time.monotonic() > end:
                raise
            print(f"waiting: {failure.message}", flush=True)
        else:
            return
        time.sleep(PAUSE_SECONDS)


def wait_until_healthy(compose: Compose, services: Mapping[str, Any]) -> None:
    """Raises Failure for a service that ends, or is not healthy in time."""
    end = time.monotonic() + limits.HEALTH
    ended_looks = 0
    while True:
        containers = compose.containers()
        ill = unwell(services, containers)
        if not ill:
            return
        dead = [
            each
            for each in containers
            if each.service in ill
            and has_ended(each)
            and not is_well(each, services.get(each.service, {}))
        ]
        ended_looks = ended_looks + 1 if dead else 0
        if ended_looks >= ENDED_LOOKS:
            name = dead[0].service
            message = f"{name} has ended with status {dead[0].exit_code}"
            raise Failure("ServiceUnhealthy", message, compose.logs(name))
        if time.monotonic() > end:
            raise Failure(
                "ServiceUnhealthy",
                f"not healthy within {limits.HEALTH:g} s: {described(ill, containers, services)}",
                compose.logs(ill[0]),
            )
        time.sleep(PAUSE_SECONDS)


def unwell(services: Mapping[str, Any], containers: list[Container]) -> list[str]:
    """Those of the merged *services* of which not every container runs healthily, or too few are there."""
    found = []
    for name, service in services.items():
        own = [each for each in containers if each.service == name]
        if len(own) < replicas(service) or not all(is_well(each, service) for each in own):
            found.append(name)
    return found


def described(services: list[str], containers: list[Container], merged: Mapping[str, Any]) -> str:
    """Each service with its state; of several containers, with those that are not well."""
    return ", ".join(f"{name} ({_states(name, containers, merged)})" for name in services)


def _states(name: str, containers: list[Container], merged: Mapping[str, Any]) -> str:
    service = merged.get(name, {})
    own = [each for each in containers if each.service == name]
    wanted = max(len(own), replicas(service))
    ill = [f"{each.state} {each.health}".strip() for each in own if not is_well(each, service)]
    ill += ["absent"] * (wanted - len(own))
    states = ", ".join(ill)
    return states if wanted == 1 else f"{len(ill)} of {wanted}: {states}"


def _sign_in(door: Door, user: str, password: str, patience: float) -> str:
    """A token of a user, tried for *patience* seconds; raises WebError, and NotProvenError at once where nobody knows
    where the pages are."""
    if not door.is_found:
        raise NotProvenError(door.why)
    end = time.monotonic() + patience
    while True:
        try:
            return web.token(user, password)
        except web.WebError:
            if time.monotonic() > end:
                raise
        time.sleep(PAUSE_SECONDS)


def _warm_up(node: Node, door: Door) -> None:
    """Once a boot, let the GPUs compile their kernels before a user waits for it; a failure is told, no more."""
    if WARM.exists():
        return
    try:
        web.status("/streamgl-gpu/secondary/gpu/health")
        # The leader makes that user when its services are well: a follower may be earlier.
        bearer = _sign_in(door, users.SERVICE, node.secret["servicePassword"], limits.PATIENCE)
        identifier = web.upload(
            bearer, f"warm-up {node.specification.node}", {"src": [0], "dst": [1]}
        )
        try:
            with visualization.opened(identifier):
                WARM.touch()
        finally:
            _forget(bearer, identifier)
        node.report.check("warmUp", True, "a first visualization was opened")
    except NotProvenError as error:
        node.report.not_proven("warmUp", str(error))
    except web.WebError as error:
        node.report.check("warmUp", False, str(error))


def _forget(bearer: str, identifier: str) -> None:
    """Nobody needs the data set of a warm-up; one that cannot be deleted says nothing of visualizations."""
    try:
        web.delete(bearer, identifier)
    except web.WebError as error:
        print(f"the data set of the warm-up stays: {error}", flush=True)
