"""The leader's PostgreSQL and Redis as containers on its host's Docker, where the release does not run them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components.hosts.connection import HostConnection
from model.specification import POSTGRES_PORT, REDIS_PORT, STORE

ROOT = Path(__file__).resolve().parents[2]
FOLDER = f"{STORE}/data-services"
"""On the host, made by the agent before the containers: the password and Redis's configuration."""

USER = "graphistry"
"""The database and its user, by the release's own defaults (graphistry-helm, values.yaml)."""

GRACE_SECONDS = 60
"""For PostgreSQL to write down what it has in memory before its container is replaced; the plugin else kills it."""

WAIT_SECONDS = 300
"""Longest wait for a container to be healthy; a database that was not closed well recovers first."""


@dataclass(frozen=True, kw_only=True)
class DataServicesArgs:
    """Inputs of :class:`DataServices`."""

    connection: HostConnection
    """The leader's host."""

    address: str
    """Where followers reach it, the only address that the ports are published on. A change replaces both containers."""

    postgres_image: str
    """Pinned by digest. A change stops the container well and replaces it; the volume stays."""

    redis_image: str
    """Pinned by digest. A change replaces the container."""

    volume: str
    """Name of the Docker volume of PostgreSQL. Never changes."""

    delivered: pulumi.Resource
    """The agent's delivery: it makes the password and Redis's configuration, which the containers mount."""

    removal: pulumi.Resource
    """What makes the host a plain one again: it ends the containers too, so that a host which is gone can be
    destroyed."""


class DataServices(pulumi.ComponentResource):
    """PostgreSQL and Redis on the leader's host.

    Creates: a provider for the host's Docker over SSH, two images, a volume (kept), two containers. The password is a
    file that the agent has made on the host, so it is in no state.
    """

    def __init__(
        self, name: str, args: DataServicesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:DataServices", name, {}, opts)
        provider = docker.Provider(
            f"{name}-docker",
            host=f"ssh://{args.connection.host.user}@{args.connection.host.address}:{args.connection.host.port}",
            ssh_opts=_ssh_options(name, args.connection),
            # It is asked at its first use: a host that is gone keeps no preview and no `destroy` from ending.
            disable_docker_daemon_check=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        child = pulumi.ResourceOptions(
            parent=self,
            provider=provider,
            # A component's own `depends_on` does not reach its children.
            depends_on=[args.delivered],
            deleted_with=args.removal,
        )
        volume = docker.Volume(
            f"{name}-postgres",
            name=args.volume,
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(retain_on_delete=True)),
        )
        docker.Container(
            f"{name}-postgres",
            name="graphistry-cluster-postgres",
            image=_image(f"{name}-postgres", args.postgres_image, child),
            envs=[
                f"POSTGRES_USER={USER}",
                f"POSTGRES_DB={USER}",
                "POSTGRES_PASSWORD_FILE=/run/secrets/postgres-password",
            ],
            volumes=[
                docker.ContainerVolumeArgs(
                    volume_name=volume.name, container_path="/var/lib/postgresql/data"
                ),
                docker.ContainerVolumeArgs(
                    host_path=f"{FOLDER}/postgres-password",
                    container_path="/run/secrets/postgres-password",
                    read_only=True,
                ),
            ],
            ports=[_port(args.address, POSTGRES_PORT)],
            healthcheck=_healthcheck(["CMD", "pg_isready", "-U", USER]),
            restart="unless-stopped",
            wait=True,
            wait_timeout=WAIT_SECONDS,
            destroy_grace_seconds=GRACE_SECONDS,
            opts=_replaced_in_order(child),
        )
        docker.Container(
            f"{name}-redis",
            name="graphistry-cluster-redis",
            image=_image(f"{name}-redis", args.redis_image, child),
            command=["redis-server", "/etc/redis/redis.conf"],
            volumes=[
                docker.ContainerVolumeArgs(
                    host_path=f"{FOLDER}/redis.conf",
                    container_path="/etc/redis/redis.conf",
                    read_only=True,
                )
            ],
            ports=[_port(args.address, REDIS_PORT)],
            # Without the password it answers too, with a refusal.
            healthcheck=_healthcheck(["CMD", "redis-cli", "ping"]),
            restart="unless-stopped",
            wait=True,
            wait_timeout=WAIT_SECONDS,
            destroy_grace_seconds=GRACE_SECONDS,
            opts=_replaced_in_order(child),
        )
        self.register_outputs({"volume": volume.name})


def _image(name: str, image: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The image on the host; it stays there when the containers go."""
    pulled = docker.RemoteImage(f"{name}-image", name=image, keep_locally=True, opts=opts)
    return pulled.image_id


def _port(address: str, port: int) -> docker.ContainerPortArgs:
    return docker.ContainerPortArgs(internal=port, external=port, ip=address)


def _healthcheck(tests: list[str]) -> docker.ContainerHealthcheckArgs:
    return docker.ContainerHealthcheckArgs(
        tests=tests, interval="5s", timeout="5s", retries=20, start_period="10s"
    )


def _replaced_in_order(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """Two containers of one name, port and volume cannot be there at a time.

    Docker changes the health check of no container that is there, and the plugin says nothing: it takes another one.
    """
    return pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(delete_before_replace=True, replace_on_changes=["healthcheck"]),
    )


def _ssh_options(name: str, connection: HostConnection) -> list[str]:
    """What makes the ssh command accept the stack file's host keys and no others."""
    known = ROOT / ".build" / f"{name}.known_hosts"
    known.parent.mkdir(exist_ok=True)
    bastion = connection.settings.ssh.bastion
    entries = [(connection.host.address, connection.host.port, connection.host.host_key)]
    if bastion is not None:
        entries.append((bastion.address, bastion.port, bastion.host_key))
    known.write_text(
        "".join(
            f"[{host}]:{port} {key}\n" if port != 22 else f"{host} {key}\n"
            for host, port, key in entries
        )
    )
    options = [
        *("-o", f"UserKnownHostsFile={known.relative_to(ROOT)}"),
        *("-o", "StrictHostKeyChecking=yes"),
        # Nobody is there to be asked for a password.
        *("-o", "BatchMode=yes"),
    ]
    if bastion is None:
        return options
    # ProxyJump would be shorter; its ssh is not told any of these options.
    jump = ["ssh", *options, "-p", str(bastion.port), "-W", "[%h]:%p"]
    jump.append(f"{bastion.user}@{bastion.address}")
    return [*options, "-o", f"ProxyCommand={shlex.join(jump)}"]
