"""Rules on whose a thing is, and on what outlives the machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from model.tags import CLUSTER_TAG, ID_TAG
from tests.harness import Registration

LAUNCHED = {"instance", "volume", "network-interface"}
"""What a group launches; a provider's default tags do not reach it."""

DATA = {"Volume", "FileSystem", "Secret", "Bucket"}

GUARDS = {
    "BackupPolicy",
    "BucketLifecycleConfiguration",
    "BucketOwnershipControls",
    "BucketPolicy",
    "BucketPublicAccessBlock",
    "BucketServerSideEncryptionConfiguration",
    "BucketVersioning",
    "FileSystemPolicy",
    "LifecyclePolicy",
}
"""What keeps data private and backed up, and so must stay with it."""

MACHINES = {"Instance", "Group", "LaunchTemplate"}


def without_cluster_tag(registrations: Sequence[Registration]) -> Iterator[str]:
    """Everything on AWS carries the cluster's tag: by its provider, and what a group launches by its template."""
    providers = {
        each.urn: json.loads(each.inputs.get("defaultTags", "{}")).get("tags", {})
        for each in registrations
        if each.type == "pulumi:providers:aws"
    }
    for each in registrations:
        if not each.type.startswith("aws:"):
            continue
        default = providers.get(each.provider.rpartition("::")[0], {})
        cluster = default.get(CLUSTER_TAG)
        if cluster is None or ID_TAG not in default:
            yield f"{each.name}: its provider does not tag it"
        tags = each.inputs.get("tags", {})
        if isinstance(tags, list):  # a group's own tags are no provider's business
            tags = {tag["key"]: tag["value"] for tag in tags}
            if not {CLUSTER_TAG, ID_TAG} <= tags.keys():
                yield f"{each.name}: the group is not tagged"
        if tags.get(CLUSTER_TAG, cluster) != cluster:
            yield f"{each.name}: has another cluster's tag"
        if each.kind == "Instance":
            # A changed default tag is removed from this disk and not put back.
            own = each.inputs["rootBlockDevice"].get("tags", {})
            if not default.items() <= own.items():
                yield f"{each.name}: its root disk names {sorted(own)} of the cluster's tags"
        if each.kind == "LaunchTemplate":
            tagged = {
                specification["resourceType"]
                for specification in each.inputs.get("tagSpecifications", [])
                if specification["tags"].get(CLUSTER_TAG) == cluster
                and ID_TAG in specification["tags"]
            }
            for launched in sorted(LAUNCHED - tagged):
                yield f"{each.name}: the {launched} that it launches is not tagged"


def unprotected_data(registrations: Sequence[Registration]) -> Iterator[str]:
    """Data and its guards are protected and retained, machines are neither, and the provider cannot be replaced."""
    for each in registrations:
        if each.kind in DATA | GUARDS and not (each.protect and each.retain_on_delete):
            yield f"{each.name}: {each.kind} is not protected and retained"
        if each.kind in MACHINES and (each.protect or each.retain_on_delete):
            yield f"{each.name}: a machine would be kept"
        if each.type == "pulumi:providers:aws" and not each.protect:
            yield f"{each.name}: another region would orphan the cluster"
