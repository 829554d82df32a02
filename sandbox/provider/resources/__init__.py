"""The table: every resource type that the stand-in carries out, by its Pulumi token."""

from __future__ import annotations

from .. import schema
from ..table import ResourceType
from . import (
    backups,
    bill,
    bucket,
    compute,
    file_system,
    groups,
    identity,
    names,
    network,
    reservations,
    security,
    volumes,
    watch,
)

TYPES: dict[str, ResourceType] = {
    **network.TYPES,
    **security.TYPES,
    **volumes.TYPES,
    **backups.TYPES,
    **reservations.TYPES,
    **compute.TYPES,
    **groups.TYPES,
    **file_system.TYPES,
    **bucket.TYPES,
    **bill.TYPES,
    **identity.TYPES,
    **names.TYPES,
    **watch.TYPES,
}


def load_schemas() -> None:
    """Read the SDK's description of every type now, which takes seconds at the first time."""
    for token in TYPES:
        schema.resource(token)
