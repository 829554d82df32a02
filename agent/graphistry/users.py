"""Users of Graphistry, made through nexus's own Django on whatever node.

Programs and passwords go in by standard input: a command line is seen by everybody on the machine.
"""

from __future__ import annotations

import json
from typing import Any

from agent.containers.compose import Compose
from agent.failures import Failure

ADMIN = "admin"
SERVICE = "graphistry-cluster"
MARKER = "graphistry-cluster-answer:"
"""Before the answer, which is not the only line that Django prints."""
SHELL = (
    "source activate base 2>/dev/null || source activate rapids 2>/dev/null; "
    "CELERY_BROKER_URL=${CELERY_BROKER_URL:-none} exec python manage.py shell"
)
"""What the vendor's own scripts do first (graph-app-kit, graphistry-service-account.sh): `exec` passes by the image's
entrypoint, which activates its Python, and Django's settings want a broker that nothing here uses."""


def ensure(compose: Compose, name: str, password: str, *, is_admin: bool) -> bool:
    """Make a user with a verified address unless there is one of that name; True where it was made."""
    return bool(_ensured(compose, name, password, is_admin)["made"])


def ensure_administrator(compose: Compose, password: str) -> tuple[bool, list[str]]:
    """Make the cluster's administrator as `ensure` does; whether it was made, and who else is an administrator."""
    answer = _ensured(compose, ADMIN, password, is_admin=True)
    return bool(answer["made"]), sorted(map(str, answer["others"]))


def _ensured(compose: Compose, name: str, password: str, is_admin: bool) -> dict[str, Any]:
    create = "create_superuser" if is_admin else "create_user"
    program = f"""
import json
from allauth.account.models import EmailAddress
from nexus.users.models import User
given = json.loads({json.dumps(json.dumps({"name": name, "password": password}))})
email = given["name"] + "@graphistry-cluster.invalid"
made = not User.objects.filter(username=given["name"]).exists()
if made:
    given = {{"username": given["name"], "email": email, "password": given["password"], "name": given["name"]}}
    user = User.objects.{create}(is_active=True, **given)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)

others = [each.username for each in User.objects.filter(is_superuser=True) if each.username != {name!r}]
print({MARKER!r} + json.dumps({{"made": made, "others": others}}))
"""
    return _shell(compose, program)


def has_administrator(compose: Compose) -> bool:
    """Whether the cluster has an administrator, so that nobody becomes one by signing up first."""
    program = f"""
import json
from nexus.users.models import User
print({MARKER!r} + json.dumps({{"found": User.objects.filter(is_superuser=True).exists()}}))
"""
    return bool(_shell(compose, program)["found"])


def set_name(compose: Compose, user: str, value: str) -> None:
    """Change a user's displayed name, the setting by which `./cluster prove` sees that settings are shared."""
    program = f"""
import json
from nexus.users.models import User
given = json.loads({json.dumps(json.dumps({"user": user, "value": value}))})
user = User.objects.get(username=given["user"])
user.name = given["value"]
user.save()
print({MARKER!r} + json.dumps({{}}))
"""
    _shell(compose, program)


def get_name(compose: Compose, user: str) -> str:
    """A user's displayed name."""
    program = f"""
import json
from nexus.users.models import User
given = json.loads({json.dumps(json.dumps({"user": user}))})
print({MARKER!r} + json.dumps({{"value": User.objects.get(username=given["user"]).name}}))
"""
    return str(_shell(compose, program)["value"])


def _shell(compose: Compose, program: str) -> dict[str, Any]:
    done = compose.execute("nexus", ["bash", "-c", SHELL], text=program, seconds=120)
    for line in done.output.splitlines():
        _, marker, answer = line.partition(MARKER)
        if marker and answer.startswith("{"):
            found: dict[str, Any] = json.loads(answer)
            return found
    # The traceback may show the program, and with it the password: only its last line is repeated.
    last = done.errors.strip().splitlines()[-1:]
    raise Failure(
        "UserCreationFailed", f"nexus's Django shell ended with status {done.status}", last
    )
