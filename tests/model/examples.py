"""Stack files for the tests of the model: one with only what is required, one with every key."""

from __future__ import annotations

import copy
from typing import Any

SMALLEST: dict[str, Any] = {
    "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}},
    "leader": {"profile": "t4"},
}

FULL: dict[str, Any] = {
    "gpuProfiles": {
        "t4": {"instanceTypes": ["g4dn.2xlarge", "g4dn.4xlarge"], "gpus": 1},
        "l40s": {
            "instanceTypes": ["g6e.12xlarge"],
            "workersPerGpu": {"forge": 2, "streamgl": 3, "dask": 1},
            "rootVolumeGib": 500,
        },
        "v100": {"instanceTypes": ["p3dn.24xlarge"]},
    },
    "leader": {
        "profile": "t4",
        "availabilityZone": "us-east-1a",
        "dataVolume": {"sizeGib": 100, "iops": 4000, "throughputMibps": 1000},
    },
    "followers": {
        "big": {
            "profile": "l40s",
            "availabilityZones": ["us-east-1a", "us-east-1b"],
            "market": "spot",
            "gpus": 2,
        },
        "small": {"profile": "t4"},
    },
    "sharedFolder": {
        "throughputMode": "provisioned",
        "provisionedThroughputMibps": 256,
        "backups": False,
    },
    "network": {
        "cidrBlock": "10.40.0.0/16",
        "availabilityZones": ["us-east-1a", "us-east-1b"],
        "natGateways": "per-zone",
        "flowLogs": False,
    },
    "access": {"allowedCidrs": ["10.0.0.0/8", "203.0.113.7/32"]},
    "release": {
        "version": "2.50.1",
        "cuda": "13",
        "source": "s3://releases/graphistry.tar.gz",
        "sha256": "0" * 64,
    },
    "image": {"id": "ami-0123456789abcdef0"},
    "tags": {"team": "graph analytics", "cost-centre": ""},
}

EXISTING_VPC = {
    "vpcId": "vpc-0123456789abcdef0",
    "subnetIds": ["subnet-0000000a", "subnet-0000000b"],
}

ABSENT = object()
"""As the value of a change: take the key away."""


def changed(base: dict[str, Any], changes: dict[str, object]) -> dict[str, Any]:
    """A copy of `base` with the value at each dotted path replaced, added or taken away."""
    result = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        if value is ABSENT:
            del target[last]
        else:
            target[last] = value
    return result
