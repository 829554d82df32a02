"""Stack files for the tests of the model: one with only what is required, one with every key."""

from __future__ import annotations

import copy
from typing import Any

from model.settings.aws import Settings
from model.settings.read import parse

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
    "configuration": {
        "env": {"SMTP_HOST": "mail.example.com"},
        "files": {"data/config/Caddyfile": "sandbox/release/files/data/config/Caddyfile"},
    },
    "image": {"id": "ami-0123456789abcdef0"},
    "preflight": {"skip": ["quota", "price"]},
    "budget": {"monthlyUsd": 30000, "alarmEmails": ["ops@example.com"]},
    "tags": {"team": "graph analytics", "cost-centre": ""},
}

_PUBLIC_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ4wwB3Wc0aJQz5q0K7l0m0bq3m1q1YtQm3c1o1v8J0a"

HOSTS: dict[str, Any] = {
    "site": "hosts",
    "gpuProfiles": {
        "a100": {"gpus": 4, "gpuMemoryGib": 80, "memoryGib": 512, "workersPerGpu": {"forge": 2}},
        "l4": {"gpus": 1, "gpuMemoryGib": 24, "memoryGib": 64},
    },
    "ssh": {
        "user": "operator",
        "port": 22,
        "bastion": {"address": "bastion.lab", "hostKey": f"ssh-ed25519 {_PUBLIC_KEY}"},
    },
    "leader": {
        "profile": "a100",
        "host": {"address": "10.0.0.10", "hostKey": f"ssh-ed25519 {_PUBLIC_KEY}"},
    },
    "followers": {
        "rack2": {
            "profile": "l4",
            "gpus": 1,
            "configuration": {"env": {"SMTP_HOST": "mail.rack2.lab", "COOKIE_SECURE": "true"}},
            "host": {
                "address": "rack2.lab",
                "privateAddress": "10.0.0.12",
                "hostKey": f"ssh-ed25519 {_PUBLIC_KEY}",
                "user": "root",
                "port": 2222,
            },
        }
    },
    "sharedFolder": {"kind": "nfs", "server": "10.0.0.5", "export": "/export/graphistry"},
    "dataServices": {"kind": "bundled"},
    "configuration": {"env": {"SMTP_HOST": "mail.lab"}},
    "telemetry": {"allowedCidrs": ["10.0.5.0/24"]},
    "release": {
        "version": "2.50.1",
        "cuda": "12",
        "source": "file:/srv/graphistry.tar.gz",
        "sha256": "0" * 64,
    },
}
"""A stack file of the `hosts` site with every section."""

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


def on_aws(raw: dict[str, Any]) -> Settings:
    """The settings in a stack file that is for AWS and sound."""
    settings = parse(raw)
    assert isinstance(settings, Settings)
    return settings
