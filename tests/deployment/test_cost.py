"""What `./cluster cost` says of a stack that was never deployed."""

import json

from tests.deployment.checkout import Checkout


def test_a_stack_is_priced_before_it_exists(checkout: Checkout) -> None:
    assert "6.232" in checkout.succeed("cost")
    printed = checkout.succeed("cost", "--json")
    document = json.loads(printed[printed.index("{") :])
    assert document["inAll"]["monthlyUsd"] > 4500
    assert document["runsNow"]["hourlyUsd"] == 0
    assert checkout.account()["vpcs"] == 0


def test_no_prices_are_shown_of_a_region_that_there_is_not(checkout: Checkout) -> None:
    """Without an account those of us-east-1 would be, which come with the program."""
    stack_file = checkout.root / "stacks" / "Pulumi.dev.yaml"
    stack_file.write_text(stack_file.read_text().replace("us-east-1", "us-esat-1"))
    nobody = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    refused = checkout.operate("cost", "dev", environment=nobody)
    assert refused.returncode == 1
    assert "no prices are shown" in refused.stdout
    assert "did you mean 'us-east-1'?" in refused.stdout
    assert "USD" not in refused.stdout
