"""What Docker's own client says of containers, in the form of the agent's, which talks to the engine by itself."""

from __future__ import annotations

from typing import Any

import docker

PROJECT = "com.docker.compose.project"


def containers(client: docker.DockerClient, project: str) -> list[dict[str, Any]]:
    """The containers of a Compose project but the one-off ones, by their identifiers."""
    labels = [f"{PROJECT}={project}", "com.docker.compose.oneoff=False"]
    found = client.containers.list(all=True, filters={"label": labels})
    return sorted(map(_container, found), key=lambda each: str(each["identifier"]))


def agents(own: dict[str, Any]) -> dict[str, Any]:
    """A container of the agent's, as a dictionary, in the same form."""
    kept = {
        name: value
        for name, value in own.items()
        if name
        not in ("allowed", "addresses", "has_machines_network", "image", "labels", "environment")
    }
    kept["mounts"] = sorted([each["source"], each["target"]] for each in own["mounts"])
    kept["published"] = sorted(
        [each["address"], each["port"], each["target"]] for each in own["published"]
    )
    return kept


def _container(found: Any) -> dict[str, Any]:
    networks = found.attrs["NetworkSettings"]["Networks"].values()
    return {
        "identifier": found.id,
        "service": found.labels["com.docker.compose.service"],
        "state": found.status,
        "health": "" if found.health == "unknown" else found.health,
        "exit_code": found.attrs["State"]["ExitCode"],
        "process": found.attrs["State"]["Pid"],
        "started": found.attrs["State"]["StartedAt"],
        "restarts": found.attrs["RestartCount"],
        "address": "".join(each["IPAddress"] for each in networks),
        "mounts": sorted([each["Source"], each["Destination"]] for each in found.attrs["Mounts"]),
        "published": sorted(
            [each["HostIp"], int(each["HostPort"]), int(port.partition("/")[0])]
            for port, bound in found.ports.items()
            for each in bound or []
        ),
    }
