"""What was delivered to a host and is not there any more: told by the preflight, and brought again by the deployment.

Pulumi knows of no loss on a host, so the resources that have brought it are made anew; everything else stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model.settings.configuration import SECRET_ENV_NAME
from model.specification import STORE

BROUGHT_BY = {
    "agent": ("specification",),
    "specification": ("specification",),
    "secret": ("secret",),
    "secretEnv": (SECRET_ENV_NAME,),
    "release": ("release", "specification"),
    "tunnel": ("tunnel",),
}
"""What a node may lack to the resources that bring it, by the ends of their names."""

WAIT = "ready"
"""The same of the resource that waits for the node afterwards."""

SECRET_GONE = (
    "its data are there, and secret.json is gone, without which nobody reads them",
    f"put {STORE}/secret.json back: from your backup, or from a follower, whose copy lacks adminPassword only",
)
"""Of a leader: problem and remedy."""


def replacements(
    resources: Iterable[Mapping[str, Any]], stack: str, lacking: Mapping[str, Sequence[str]]
) -> list[str]:
    """The options by which Pulumi makes those *resources* of a stack anew that bring what its nodes are *lacking*.

    A resource that is not there yet is made anyway.
    """
    wanted = {
        f"graphistry-{stack}-{node}-{end}"
        for node, lacks in lacking.items()
        for what in lacks
        for end in (*BROUGHT_BY[what], WAIT)
    }
    # Another key of the leader's is news to each of its followers.
    ends = ("-tunnel",) if "tunnel" in lacking.get("leader", ()) else ()
    return [
        f"--replace={each['urn']}"
        for each in resources
        if (name := each["urn"].split("::")[-1]) in wanted or name.endswith(ends)
    ]
