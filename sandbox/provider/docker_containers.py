"""Containers and volumes in the Docker of a host."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

import docker.errors

from .protocol import Problem
from .values import UNKNOWN, Properties, RefusalError

WAIT_SECONDS = 60
"""Longest wait for a healthy container where its inputs say nothing."""
SETTLE_SECONDS = 1.0
"""After which a container that runs is taken not to end at once."""
_PAUSE_SECONDS = 0.25
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_NANOSECONDS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
UPDATED = {"destroyGraceSeconds", "healthcheck", "restart", "wait", "waitTimeout", "mustRun"}
"""Inputs of a container that do not replace it. A changed health check is in the state then, and in no container."""


def problems(inputs: Properties) -> Iterator[Problem]:
    """What is wrong with the inputs of a container beyond their names and types."""
    for index, volume in enumerate(_known(inputs.get("volumes"))):
        if len({"hostPath", "volumeName"} & volume.keys()) != 1 or "containerPath" not in volume:
            yield f"volumes[{index}]", "containerPath and one of hostPath, volumeName are needed"
    asked = inputs.get("healthcheck")
    healthcheck = asked if isinstance(asked, dict) else {"tests": []}  # not known yet
    for name in ("interval", "timeout", "startPeriod"):
        value = healthcheck.get(name, "1s")
        if value != UNKNOWN and not _DURATION.fullmatch(str(value)):
            yield f"healthcheck.{name}", "a duration as 1m30s is needed"
    if "healthcheck" in inputs and "tests" not in healthcheck:
        yield "healthcheck.tests", "is missing, and the sandbox knows no image's own"
    if inputs.get("wait") and "healthcheck" not in inputs:
        yield "healthcheck", "is missing, and wait has nothing to wait for"
    if inputs.get("restart", "no") not in ("no", "on-failure", "always", "unless-stopped", UNKNOWN):
        yield "restart", "one of no, on-failure, always, unless-stopped is needed"


def make_volume(client: Any, name: str) -> Properties:
    """A new volume, or the one that is there already."""
    made = client.volumes.create(name)
    return {"name": name, "driver": "local", "mountpoint": made.attrs["Mountpoint"]}


def has_volume(client: Any, name: str) -> bool:
    try:
        client.volumes.get(name)
    except docker.errors.NotFound:
        return False
    return True


def remove_volume(client: Any, name: str) -> None:
    try:
        client.volumes.get(name).remove()
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        raise RefusalError(f"Unable to remove volume: {error.explanation}") from error


def create(client: Any, inputs: Properties) -> str:
    """Make a container; its id."""
    api = client.api
    ports = inputs.get("ports", ())
    try:
        made = api.create_container(
            inputs["image"],
            inputs.get("command"),
            name=inputs["name"],
            entrypoint=inputs.get("entrypoints"),
            user=inputs.get("user"),
            environment=list(inputs.get("envs", ())),
            healthcheck=_healthcheck(inputs),
            ports=[(int(each["internal"]), each.get("protocol", "tcp")) for each in ports],
            host_config=api.create_host_config(
                binds=[_bind(each) for each in inputs.get("volumes", ())],
                port_bindings=_published(ports),
                restart_policy={"Name": inputs.get("restart", "no")},
            ),
        )
    except docker.errors.APIError as error:
        raise RefusalError(f"Unable to create container: {error.explanation}") from error
    return str(made["Id"])


def start(client: Any, identifier: str, inputs: Properties) -> None:
    """Start a container and wait as its inputs say. Raises RefusalError; the container remains."""
    try:
        client.api.start(identifier)
    except docker.errors.APIError as error:
        raise RefusalError(f"Unable to start container: {error.explanation}") from error
    began = time.monotonic()
    seconds = inputs.get("waitTimeout", WAIT_SECONDS)
    while True:
        state = client.api.inspect_container(identifier)["State"]
        passed = time.monotonic() - began
        ended = not state["Running"] and not state["Restarting"]
        if ended and inputs.get("mustRun", True):
            raise RefusalError(f"container exited immediately: {_last_words(client, identifier)}")
        if inputs.get("wait"):
            if state["Health"]["Status"] == "healthy":
                return
            if passed > seconds:
                words = _last_words(client, identifier)
                raise RefusalError(f"container failed to be in healthy state: {words}")
        elif passed > SETTLE_SECONDS:
            return
        time.sleep(_PAUSE_SECONDS)


def read(client: Any, identifier: str, must_run: bool) -> bool:
    """Whether a container is there; one that must run and does not is removed, as by the real one."""
    try:
        state = client.api.inspect_container(identifier)["State"]
    except docker.errors.NotFound:
        return False
    if must_run and not state["Running"] and not state["Restarting"]:
        remove(client, identifier)
        return False
    return True


def set_restart(client: Any, identifier: str, policy: str) -> None:
    client.api.update_container(identifier, restart_policy={"Name": policy})


def remove(client: Any, identifier: str, grace: float | None = None) -> None:
    """End a container, killed unless it has seconds of *grace*, as by the real one; named volumes stay."""
    try:
        if grace:
            client.api.stop(identifier, timeout=int(grace))
        client.api.remove_container(identifier, force=True, v=True)
    except docker.errors.NotFound:
        return


def _known(value: Any) -> list[dict[str, Any]]:
    """The items of a list as far as they are known and whole."""
    items = value if isinstance(value, list) else []
    return [each for each in items if isinstance(each, dict) and UNKNOWN not in each.values()]


def _bind(volume: Properties) -> str:
    mode = "ro" if volume.get("readOnly") else "rw"
    source = volume.get("volumeName") or volume["hostPath"]
    return f"{source}:{volume['containerPath']}:{mode}"


def _published(ports: Iterable[Properties]) -> dict[str, list[tuple[str, int | None]]]:
    """Port of the container -> addresses and ports of the host; any free one where none is asked for."""
    found: dict[str, list[tuple[str, int | None]]] = {}
    for port in ports:
        inner = f"{int(port['internal'])}/{port.get('protocol', 'tcp')}"
        outer = int(port["external"]) if "external" in port else None
        found.setdefault(inner, []).append((port.get("ip") or "0.0.0.0", outer))  # noqa: S104
    return found


def _healthcheck(inputs: Properties) -> dict[str, Any] | None:
    asked = inputs.get("healthcheck")
    if asked is None:
        return None
    found: dict[str, Any] = {"test": asked["tests"]}
    for name in ("interval", "timeout", "startPeriod"):
        if name in asked:
            key = "start_period" if name == "startPeriod" else name
            found[key] = _nanoseconds(asked[name])
    if "retries" in asked:
        found["retries"] = asked["retries"]
    return found


def _nanoseconds(text: str) -> int:
    """Go's duration, as 1m30s."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    return int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


def _last_words(client: Any, identifier: str) -> str:
    said = client.api.logs(identifier, tail=5).decode(errors="replace").strip()
    state = client.api.inspect_container(identifier)["State"]
    checks = (state.get("Health") or {}).get("Log") or []
    return said or (str(checks[-1]["Output"]).strip() if checks else "it said nothing")
