"""The end of a cluster: the machines go, the data stays until its name is typed."""

from collections import Counter

from tests.deployment.checkout import Checkout

MACHINES = ("instances", "groups", "launch templates", "nat gateways", "addresses", "vpcs", "roles")
DATA = ("volumes", "file systems", "buckets", "secrets")


def held(account: Counter[str]) -> set[str]:
    return {kind for kind, number in account.items() if number}


def test_destroy_takes_the_machines_and_keeps_the_data_and_up_takes_it_up_again(
    checkout: Checkout,
) -> None:
    checkout.succeed("up")
    full = checkout.account()
    before = kept(checkout)
    ended = checkout.pulumi("destroy", "--exclude-protected", "--yes", "--skip-preview")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    after = checkout.account()
    assert all(after[kind] == 0 for kind in MACHINES), after
    # The secrets of the leader and of the followers.
    assert {kind: after[kind] for kind in DATA} == {**dict.fromkeys(DATA, 1), "secrets": 2}
    checkout.succeed("up")
    assert checkout.account() == full
    assert kept(checkout) == before


def test_purge_needs_the_name_of_the_stack_and_leaves_an_empty_account(checkout: Checkout) -> None:
    checkout.succeed("up")
    full = checkout.account()
    for wrong in ([], ["--name", "prod"]):
        refused = checkout.operate("purge", *wrong)
        assert refused.returncode == 1
        assert "Nothing was deleted" in refused.stdout
        assert checkout.account() == full
    checkout.succeed("purge", "--name", "sandbox")
    assert held(checkout.account()) == set()
    again = checkout.operate("purge", "--name", "sandbox")
    assert again.returncode == 1
    assert "nothing to delete" in again.stdout


def test_data_that_was_kept_can_be_purged_later(checkout: Checkout) -> None:
    checkout.succeed("up")
    checkout.pulumi("destroy", "--exclude-protected", "--yes", "--skip-preview")
    checkout.succeed("purge", "--name", "sandbox")
    assert held(checkout.account()) == set()


def test_down_says_what_is_kept_and_why_and_stops_the_sandbox(checkout: Checkout) -> None:
    checkout.succeed("up")
    shown = checkout.succeed("down")
    for word in ("dataVolume", "sharedFolder", "secret", "bucket", "PostgreSQL"):
        assert word in shown
    assert not (checkout.root / ".sandbox" / "daemon.json").exists()
    again = checkout.succeed("up")
    assert "the sandbox was restarted since the last deployment" in again
    assert checkout.account()["instances"] == 3
    checkout.succeed("down")
    purged = checkout.succeed("purge", "--name", "sandbox")
    assert "there was nothing left to delete" in purged
    assert "nothing to delete" in checkout.operate("purge", "--name", "sandbox").stdout


def kept(checkout: Checkout) -> dict[str, str]:
    return {
        each["urn"]: each["id"]
        for each in checkout.resources()
        if each.get("protect") and each["type"].endswith((":Volume", ":FileSystem", ":Bucket"))
    }
