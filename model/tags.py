"""Tags: the provider's default tags say whose a resource is, the ``Name`` tag says which one it is.

Both are there from the moment of creation, so that an interrupted deployment can find what it made
(``operate/stack/recover.py``).
"""

from collections.abc import Mapping

CLUSTER_TAG = "graphistry-cluster:cluster"
"""Key of the tag that every resource of a cluster carries; its value is ``<project>/<stack>``."""


BACKUPS_TAG = "graphistry-cluster:backups"
"""Key of the tag by which the snapshot policy of a cluster knows its data volume; its value is the cluster with the
id of its state."""

LEADER_TAG = "graphistry-cluster:leader"
"""Key of the tag of followers whose leader another stack has; its value is the cluster of that leader."""


ID_TAG = "graphistry-cluster:id"
"""Key of the tag that tells two clusters of one name apart; its value is born with the state and kept there alone."""

GIVEN_UP_TAG = "graphistry-cluster:given-up"
"""Key of a tag of data whose name somebody has typed: no recovery takes it up again. Its value says when."""


def cluster_tags(
    project: str, stack: str, identity: str, tags: Mapping[str, str]
) -> dict[str, str]:
    """The default tags of everything in one stack: the stack file's own, the cluster's and its state's *identity*."""
    return {**tags, CLUSTER_TAG: f"{project}/{stack}", ID_TAG: identity}


def named(name: str) -> dict[str, str]:
    """The ``Name`` tag of one resource: its logical name, unique in the stack."""
    return {"Name": name}


FEWEST_TAGS = 10
"""What AWS takes on an object in S3, and on a hosted zone in Route 53; on everything else it is 50."""

PROGRAM_TAGS = len(cluster_tags("", "", "", {}) | named(""))
"""Tags that the program itself puts on either. The one of the leader is on groups and their machines alone."""

OWN_TAGS = FEWEST_TAGS - PROGRAM_TAGS
"""Tags that a stack file may have: they are on everything."""
