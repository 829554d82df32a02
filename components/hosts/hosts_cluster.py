"""What the nodes of one cluster on hosts have in common, whichever stack has their leader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pulumi

from model import tunnel
from model.settings.hosts import Host, HostsSettings, SharedFolder
from model.settings.sections import Release
from model.specification import EXPORTED_FOLDER


@dataclass(frozen=True, kw_only=True)
class HostsCluster:
    """The facts about a cluster that every node's specification takes."""

    cluster: str
    """``<project>/<stack>`` of the leader, the cluster's name in documents and markers."""

    leader: Host
    """The leader's host, with user and port."""

    leader_address: str
    """Its private address."""

    shared_folder: SharedFolder
    """The dataset directory."""

    data_services: Literal["bundled", "containers"]
    """Who runs PostgreSQL and Redis."""

    encryption: Literal["wireguard"] | None
    """Whether followers reach the leader by WireGuard."""

    release: Release
    """The Graphistry release."""

    @staticmethod
    def own(settings: HostsSettings, cluster: str) -> HostsCluster:
        """Of a stack that has the leader."""
        return HostsCluster(
            cluster=cluster,
            leader=settings.resolved(settings.leader.host),
            leader_address=settings.private_address("leader"),
            shared_folder=settings.shared_folder,
            data_services=settings.data_services.kind,
            encryption=settings.encryption,
            release=settings.release,
        )

    @staticmethod
    def joined(document: Mapping[str, Any]) -> HostsCluster:
        """Of a stack of followers, from the output ``join`` of the leader's."""
        host = document["leader"]["host"]
        return HostsCluster(
            cluster=document["cluster"],
            # Every number of an output comes back as a float.
            leader=Host.model_validate({**host, "port": int(host["port"])}),
            leader_address=document["leader"]["address"],
            shared_folder=SharedFolder.model_validate(document["sharedFolder"]),
            data_services=document["dataServices"],
            encryption=document.get("encryption"),
            release=Release.model_validate(document["release"]),
        )

    def as_join(self) -> dict[str, pulumi.Input[object]]:
        """What :meth:`joined` reads."""
        return {
            "site": "hosts",
            "cluster": self.cluster,
            "leader": {
                "host": self.leader.model_dump(by_alias=True, exclude_none=True),
                "address": self.leader_address,
            },
            "sharedFolder": self.shared_folder.model_dump(by_alias=True, exclude_none=True),
            "dataServices": self.data_services,
            **({"encryption": self.encryption} if self.encryption else {}),
            "release": self.release.model_dump(by_alias=True, exclude_none=True),
        }

    @property
    def leader_reached(self) -> str:
        """Where followers reach the leader's data services and its folder: inside the tunnel, if there is one."""
        return tunnel.inside(self.leader_address) if self.encryption else self.leader_address

    @property
    def shared_folder_place(self) -> str:
        """Where the dataset directory is, as in ``mount``; or the path where it is mounted already."""
        folder = self.shared_folder
        if folder.kind == "path":
            return str(folder.path)
        if folder.kind == "nfs":
            return f"{folder.server}:{folder.export}"
        return f"{self.leader_reached}:{folder.folder or EXPORTED_FOLDER}"
