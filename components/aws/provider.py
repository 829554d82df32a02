"""The provider by which everything of a cluster on AWS is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pulumi
import pulumi_aws as aws


def aws_provider(
    region: str, accounts: Collection[str], tags: Mapping[str, str], *, delete_data: bool
) -> aws.Provider:
    """A provider with the cluster's *tags* as default tags, which works in *accounts* alone.

    It is written into the state with them, so that ``pulumi refresh`` and ``destroy``, which run no program, refuse
    credentials of another account too. A change replaces nothing.
    """
    return aws.Provider(
        "aws",
        region=region,
        allowed_account_ids=sorted(accounts),
        # Launching the leader without capacity is retried inside the provider for 50 minutes at its default of 25
        # (terraform-provider-aws#43193, #49863); a refusal should be told while somebody is looking.
        max_retries=5,
        default_tags=aws.ProviderDefaultTagsArgs(tags=dict(tags)),
        # Another region would replace the provider and orphan the cluster; Pulumi replaces nothing protected.
        opts=pulumi.ResourceOptions(protect=not delete_data),
    )
