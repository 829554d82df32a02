"""What `make cost` says of a stack that was never deployed."""

import json

from tests.deployment.checkout import Checkout


def test_a_stack_is_priced_before_it_exists(checkout: Checkout) -> None:
    assert "6.232" in checkout.succeed("cost")
    printed = checkout.succeed("cost", "--json")
    document = json.loads(printed[printed.index("{") :])
    assert document["inAll"]["monthlyUsd"] > 4500
    assert document["runsNow"]["hourlyUsd"] == 0
    assert checkout.account()["vpcs"] == 0
