"""What the agent finds on a host before anything is installed on it (``agent.pyz inspect``)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class Docker(_Part):
    """The host's Docker; a version is None where there is none."""

    version: str | None = None
    compose: str | None = None
    nvidia_runtime: str | None = None
    open_to_user: bool = True
    """Whether the user of SSH may use it without sudo."""
    changes: tuple[str, ...] = ()
    """What the agent will set in /etc/docker/daemon.json, for which Docker restarts."""
    settings_problem: str | None = None
    """Why that file cannot be read."""


class Gpu(_Part):
    """One GPU that the driver shows."""

    name: str
    memory_mib: int


class GpuProblem(_Part):
    """Why the GPUs cannot be used: a driver that is not there, a GPU that has to be reset, MIG."""

    message: str
    hint: str


class PresentNode(_Part):
    """The node that a host already is."""

    cluster: str
    node: str


class Release(_Part):
    """The release that came with a host."""

    version: str
    cuda: str
    folder: str


class Facts(_Part):
    """What the agent has found on a host."""

    os: str
    os_id: str
    architecture: str
    systemd: bool
    python: str
    free_gib: dict[str, float]
    """By folder; that of `/var/lib/docker` is where Docker really keeps its images."""
    file_systems: dict[str, int] = {}
    """By the same folders: those with one number share their room."""
    docker: Docker
    driver: str | None
    gpus: tuple[Gpu, ...]
    gpu_problem: GpuProblem | None = None
    memory_mib: int
    listening: dict[str, str]
    time: float
    machine_id: str
    node: PresentNode | None = None
    firewall: str | None = None
    lacks: tuple[str, ...] = ()
    """What is delivered to a node and is not there, a key of ``host_losses.BROUGHT_BY`` each."""
    data_services: str | None = None
    """The kind whose data it has; None where it has none."""
    release: Release | None = None
    """What ``release.source: preinstalled`` finds."""
    wireguard: str | None = None
    """The kernel's, a program in its place, or none."""
    networks: tuple[str, ...] = ()
    """To which it has a way of its own, but for the tunnel's."""
    clock_offset: float = 0.0
    """Seconds by which the host is ahead of this computer; added here."""
    login_noise: str = ""
    """What the user's login shell prints before every command; added here."""
