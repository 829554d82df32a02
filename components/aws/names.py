"""How long the names of nodes may be: AWS ends the names of what is made for them."""

from model.settings import FollowersOnAws, Problem, SettingsError

ROLE_NAME_LIMIT = 64
"""Longest name of an IAM role or instance profile (AWS: IAM quotas)."""

LONGEST_SUFFIX = len("-profile-1234567")
"""What the longest physical name adds to a node's name; Pulumi appends the digits."""


def check_names(name: str, settings: FollowersOnAws) -> None:
    """Raise :class:`SettingsError` for every follower whose physical names would be longer than AWS takes.

    *name* is the cluster's, ``graphistry-<stack>``, with which they begin.
    """
    limit = ROLE_NAME_LIMIT - LONGEST_SUFFIX - len(name) - 1
    problems = [
        Problem(
            path=f"followers.{node}",
            got=f"a name of {len(node)} characters",
            allowed=f"{limit} characters in the cluster {name}, because AWS ends the name of a role "
            f"at {ROLE_NAME_LIMIT}",
            hint="shorten the name of the follower or of the stack",
        )
        for node in settings.followers
        if len(node) > limit
    ]
    if problems:
        raise SettingsError(tuple(problems))
