"""What AWS refused while Pulumi was deploying, told again at the end: which resource, AWS's code, what to do.

Pulumi shows AWS's own words among everything else; the engine's log of events has them by resource.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from operate.refusals import REFUSALS

RIGHT = "whoever deploys lacks the right to this call: have it given to them; `aws sts get-caller-identity` shows who"

HINTS: Mapping[str, str] = {
    **{code: hint for code, (_, hint) in REFUSALS.items()},
    "InsufficientInstanceCapacity": (
        "AWS has no such machine free in this zone now: put another type first in its profile, name another "
        "leader.availabilityZone while the cluster is new, or reserve capacity and name it in "
        "leader.capacityReservation"
    ),
    "VpcLimitExceeded": (
        "the region has as many VPCs as its quota: request a higher one (Service Quotas, Amazon VPC), remove one, or "
        "name one in network.vpcId"
    ),
    "AddressLimitExceeded": (
        "the region has as many Elastic IP addresses as its quota: request a higher one (Service Quotas, Amazon EC2), "
        'release one, or set network.natGateways to "single"'
    ),
    "NatGatewayLimitExceeded": (
        "the zone has as many NAT gateways as its quota: request a higher one (Service Quotas, Amazon VPC), or "
        "remove one"
    ),
    "OptInRequired": "the account must subscribe to the image first: AWS Marketplace, the image's page",
    "UnauthorizedOperation": RIGHT,
    "AccessDenied": RIGHT,
    "ExpiredToken": "the credentials ended meanwhile: sign in again, the same command goes on",
    "RequestExpired": "the credentials ended meanwhile: sign in again, the same command goes on",
}
"""AWS's code to what to do about it."""

_CODE = re.compile("|".join(sorted(HINTS, key=len, reverse=True)))


def refused(events: Path) -> Iterator[str]:
    """A line for each resource that AWS refused for a known reason, from the engine's log of events; none without."""
    lines = events.read_text().splitlines() if events.exists() else []
    told = dict(filter(None, map(_refusal, lines)))
    for resource, code in told.items():
        yield f"{resource}: {code}: {HINTS[code]}"


def _refusal(line: str) -> tuple[str, str] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None  # the last line of an engine that was killed
    said = event.get("diagnosticEvent", {})
    kinds, _, name = said.get("urn", "").rpartition("::")
    code = _CODE.search(said.get("message", ""))
    # What waits for a node tells the node's own errors, which may have the same words.
    if said.get("severity") != "error" or "aws:" not in kinds.rpartition("$")[2] or code is None:
        return None
    return name, code[0]
