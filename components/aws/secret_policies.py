"""What nodes may never do with the cluster's secrets, whatever their own policies allow.

Nobody but nodes is spoken of: the operator and the account's administrators keep what their policies give them.
"""

from typing import Any

from components.aws.names import APPENDED
from components.aws.policies import policy


def followers_secret_policy(roles: str) -> dict[str, Any]:
    """No node changes it, be it the followers' or the stack file's. *roles* begins the ARNs of all roles of nodes,
    those of joined stacks too."""
    return policy(_never_changed(roles))


def leaders_secret_policy(roles: str, leaders_role: str, leaders_name: str) -> dict[str, Any]:
    """No node changes it, and none but the leader reads it.

    *leaders_role* is the ARN of the leader's role, *leaders_name* what Pulumi makes its name of. A role that takes its
    place must read the secret before this policy is written anew, so such names are admitted. No follower has one:
    what it is called stands between, and a joined stack's roles have a longer path.
    """
    another = f"{roles}{leaders_name}-{'?' * (APPENDED - 1)}"
    return policy(
        _never_changed(roles),
        {
            "Sid": "FollowersNeverReadIt",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": ["secretsmanager:GetSecretValue"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {"aws:PrincipalArn": f"{roles}*"},
                "ArnNotLike": {"aws:PrincipalArn": [leaders_role, another]},
            },
        },
    )


def _never_changed(roles: str) -> dict[str, Any]:
    return {
        "Sid": "NodesNeverChangeIt",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecret"],
        "Resource": "*",
        "Condition": {"ArnLike": {"aws:PrincipalArn": f"{roles}*"}},
    }
