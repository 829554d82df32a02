"""What recovery makes of operations that Pulumi never saw the end of."""

from copy import deepcopy
from typing import Any

import pytest

from model.problems import UserError
from operate.stack.recover import recover

COMPONENT = {
    "urn": "urn:pulumi:sandbox::graphistry-cluster::graphistry-cluster:index:Cluster::graphistry",
    "type": "graphistry-cluster:index:Cluster",
}


class Interrupted:
    """A deployment that was killed while it made one resource."""

    cluster, stack = "graphistry-cluster/sandbox", "sandbox"

    def __init__(self, resource: dict[str, Any]) -> None:
        self.state: dict[str, Any] = {
            "resources": [],
            "pending_operations": [{"type": "creating", "resource": resource}],
        }

    def checkpoint(self) -> dict[str, Any]:
        return deepcopy(self.state)

    def forget(self) -> None:
        """Nothing has changed meanwhile."""

    def replace_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.state = checkpoint


def test_a_resource_without_inputs_is_made_again() -> None:
    interrupted = Interrupted(COMPONENT)
    recover(interrupted)  # type: ignore[arg-type] # the part of a deployment that is asked
    assert interrupted.state == {"resources": []}


def test_the_state_of_a_run_elsewhere_that_has_just_ended_is_not_overwritten() -> None:
    """Where the state is no file, another computer's lock is not seen before a write."""

    class Running(Interrupted):
        reads = 0

        def checkpoint(self) -> dict[str, Any]:
            self.reads += 1
            if self.reads == 3:
                self.state = {"resources": [COMPONENT]}
            return super().checkpoint()

    running = Running(COMPONENT)
    with pytest.raises(UserError, match="another Pulumi is changing the stack sandbox"):
        recover(running)  # type: ignore[arg-type] # the part of a deployment that is asked
    assert running.state == {"resources": [COMPONENT]}


def test_what_replaces_the_state_is_not_of_before_the_preflight() -> None:
    class Changed(Interrupted):
        def forget(self) -> None:
            self.state["resources"] = [COMPONENT]

    changed = Changed(COMPONENT)
    recover(changed)  # type: ignore[arg-type] # the part of a deployment that is asked
    assert changed.state == {"resources": [COMPONENT]}
