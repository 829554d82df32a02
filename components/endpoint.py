"""The one value by which followers reach the leader's data services."""

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where one data service of the leader answers."""

    host: pulumi.Output[str]
    """Private DNS name; it outlives the machine, so followers never notice a replaced leader."""

    port: int
    """TCP port on that host."""

    def as_output(self) -> pulumi.Output[dict[str, object]]:
        """The endpoint as one exportable value: ``{"host": ..., "port": ...}``."""
        return self.host.apply(lambda host: {"host": host, "port": self.port})
