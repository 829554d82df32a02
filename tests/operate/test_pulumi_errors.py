"""What a user reads when Pulumi cannot begin, by what it has said; tests/deployment asks Pulumi itself."""

from __future__ import annotations

import pytest

from operate.stack.pulumi_errors import explained

BLOB = 'error: read ".pulumi/meta.yaml": blob (key ".pulumi/meta.yaml") '


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("error: Unauthorized: No credentials provided or are invalid.", "does not take the login"),
        ("error: [403] No credentials provided or are invalid.", "does not take the login"),
        (
            f"{BLOB}(code=PermissionDenied): operation error S3: GetObject, api error Forbidden",
            "refuses this user",
        ),
        (
            f"{BLOB}(code=Unknown): operation error S3: failed to refresh cached credentials, no EC2 IMDS",
            "the bucket with the state cannot be read",
        ),
        (
            "error: performing HTTP request: dial tcp: lookup api.pulumi.com: no such host",
            "not reached from here",
        ),
    ],
)
def test_what_pulumi_said_of_other_places_is_explained(said: str, found: str) -> None:
    """Its words were printed by Pulumi 3.259."""
    told = explained(f"Logging in using access token\n{said}", "mine")
    assert told is not None
    assert found in told
    assert said.removeprefix("error: ") in told


def test_what_nobody_knows_is_left_as_it_is() -> None:
    assert explained("error: something else", "mine") is None
