"""How long the names of stacks and nodes may be: AWS ends the names of what is made for them."""

import re

from components.aws.spot_fallback import FALLBACK
from model.problems import Problem, SettingsError, shown
from model.settings.aws import FollowersOnAws

NAME_LIMIT = 64
"""Longest name of an IAM role or instance profile (AWS: IAM quotas), and of a rule of EventBridge (AWS: PutRule)."""

APPENDED = len("-1234567")
"""What Pulumi makes a physical name of."""

LONGEST_SUFFIX = len("-profile")
"""What the longest name of a role or instance profile adds to a node's."""

_IN_A_BUCKET = re.compile(r"[a-z0-9-]+")
"""AWS takes dots too (S3: bucket naming rules), which no stack's name has here."""


def check_names(name: str, settings: FollowersOnAws) -> None:
    """Raise :class:`SettingsError` where physical names would be longer than AWS takes, for every follower.

    *name* is the cluster's, ``graphistry-<stack>``, with which they begin. One that is too long alone is told alone.
    """
    if not _IN_A_BUCKET.fullmatch(name):
        raise SettingsError(
            (
                Problem(
                    path="the stack's name",
                    got=f"{shown(name)}, as the cluster is called after it",
                    allowed="lower-case letters, digits and hyphens, because S3 takes no others in a bucket's name",
                    hint="call the stack file stacks/Pulumi.NAME.yaml by such a name",
                ),
            )
        )
    on_spot = any(follower.market == "spot" for follower in settings.followers.values())
    longest = f"{FALLBACK}-role" if on_spot else "leader-profile"
    fits = NAME_LIMIT - APPENDED - len(f"-{longest}")
    if len(name) > fits:
        raise SettingsError(
            (
                Problem(
                    path="the stack's name",
                    got=f"{len(name)} characters in {name}",
                    allowed=f"{fits}, because AWS ends the name of a role at {NAME_LIMIT}, here of {name}-{longest}",
                    hint=f"call the stack file stacks/Pulumi.NAME.yaml by a name that is {len(name) - fits} shorter",
                ),
            )
        )
    room = NAME_LIMIT - APPENDED - len(f"{name}-")
    problems = []
    for node, follower in settings.followers.items():
        spot = follower.market == "spot"
        limit = room - (len(f"{FALLBACK}-") if spot else LONGEST_SUFFIX)
        if len(node) > limit:
            kind, other = ("rule", ", or buy it in another market") if spot else ("role", "")
            problems.append(
                Problem(
                    path=f"followers.{node}",
                    got=f"a name of {len(node)} characters",
                    allowed=f"{limit} characters in the cluster {name}{' on spot' if spot else ''}, because AWS "
                    f"ends the name of a {kind} at {NAME_LIMIT}",
                    hint=f"shorten the name of the follower or of the stack{other}",
                )
            )
    if problems:
        raise SettingsError(tuple(problems))
