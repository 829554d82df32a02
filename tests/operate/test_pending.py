"""What recovery makes of operations that Pulumi never saw the end of."""

from typing import Any

from operate.recover import recover

COMPONENT = {
    "urn": "urn:pulumi:sandbox::graphistry-cluster::graphistry-cluster:index:Cluster::graphistry",
    "type": "graphistry-cluster:index:Cluster",
}


class Interrupted:
    """A deployment that was killed while it made one resource."""

    cluster = "graphistry-cluster/sandbox"

    def __init__(self, resource: dict[str, Any]) -> None:
        self.state: dict[str, Any] = {
            "resources": [],
            "pending_operations": [{"type": "creating", "resource": resource}],
        }

    def checkpoint(self) -> dict[str, Any]:
        return self.state

    def forget(self) -> None:
        """Nothing has changed meanwhile."""

    def replace_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.state = checkpoint


def test_a_resource_without_inputs_is_made_again() -> None:
    interrupted = Interrupted(COMPONENT)
    recover(interrupted)  # type: ignore[arg-type] # the part of a deployment that is asked
    assert interrupted.state == {"resources": []}


def test_what_replaces_the_state_is_not_of_before_the_preflight() -> None:
    class Changed(Interrupted):
        def forget(self) -> None:
            self.state["resources"].append(COMPONENT)

    changed = Changed(COMPONENT)
    recover(changed)  # type: ignore[arg-type] # the part of a deployment that is asked
    assert changed.state == {"resources": [COMPONENT]}
