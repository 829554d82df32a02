"""Which PostgreSQL has this host's data: the release's own, or a container of this program's."""

from __future__ import annotations

from pathlib import Path

from agent.failures import Failure
from agent.sites.store import STORE
from agent.specification import Specification

SWITCH = "docs/how-to/deploy-on-hosts.md describes how to take the data along"


def present() -> str | None:
    """The kind of data services whose data are on this host, as in a specification; None where there are none."""
    if _passwords().exists():
        return "containers"
    if _bundled().is_dir() and any(_bundled().iterdir()):
        return "bundled"
    return None


def require_same(specification: Specification) -> None:
    """Raises Failure DataServicesForeign where a leader's data are those of the other kind."""
    found, wanted = present(), specification.data_services
    if not specification.is_leader or found in (None, wanted):
        return
    where = _bundled() if found == "bundled" else f"a Docker volume; its password in {_passwords()}"
    raise Failure(
        "DataServicesForeign",
        f"this host's data are those of dataServices {found} ({where}), and {wanted} would begin with an empty"
        f" database; nothing was changed. {SWITCH}",
    )


def _bundled() -> Path:
    return STORE / "data" / "postgresql_data"


def _passwords() -> Path:
    return STORE / "data-services"
