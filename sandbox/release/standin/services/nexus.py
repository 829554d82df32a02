"""nexus: users, tokens, settings and web sessions."""

import json
import os
import secrets
import socket
import uuid
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from .. import database, tokens, traps
from ..accounts import EmailAddress, User
from ..redis_client import redis
from ..web import RefusedError, Reply, Request, Route, serve

SESSION_SECONDS = 1209600
NODE = socket.gethostname()
DATA = Path("/opt/graphistry/data")


def main(service: str) -> None:
    """Wait for PostgreSQL, bring its tables up to date, answer."""
    database.wait()
    database.migrate()
    routes: list[Route] = [
        ("GET", "/ht/", _health),
        ("POST", "/api-token-auth/?|/api/v2/auth/token/generate/?", _generate),
        ("POST", "/api-token-refresh/?|/api/v2/auth/token/refresh/?", _refresh),
        ("POST", "/api-token-verify/?", _verify),
        ("*", "/api/v2/auth/token/verify/?", _who),
        ("GET", "/api/v2/datasets/?", _datasets),
        ("DELETE", "/api/v2/datasets/([0-9a-f]{32})/?", _delete),
        ("POST", "/api/v2/files/?", _create_file),
        ("POST", "/accounts/signup/?", _sign_up),
        ("POST", "/accounts/login/?", _log_in),
        ("GET", "/api/v2/users/me/?", _me),
        ("GET", "/api/v2/users/me/settings/?", _settings),
        ("PUT", "/api/v2/users/me/settings/?", _change_settings),
    ]
    serve(service, 8000, routes)


def _health(_: Request) -> Reply:
    checks = {
        "Cache backend: default": lambda: redis("PING"),
        "Cache backend: redis": lambda: redis("SET", f"nexus:health:{NODE}", "1", "EX", 60),
        "DatabaseBackend": lambda: database.rows("SELECT count(*) AS count FROM nexus_user", []),
        "DefaultFileStorage": _store,
    }
    found = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = "working"
        except (OSError, database.DatabaseError) as error:
            found[name] = f"unavailable: {type(error).__name__}"
    return Reply(200 if set(found.values()) == {"working"} else 500, found)


def _store() -> None:
    probe = Path(os.environ["LOCAL_DATASET_CACHE_DIR"], "files", f".nexus-health-{NODE}")
    probe.parent.mkdir(exist_ok=True)
    probe.write_text("1")
    probe.unlink()


def _generate(request: Request) -> Reply:
    user = _user_with_password(request.document())
    return Reply(200, {"token": tokens.token(user.username), "username": user.username})


def _refresh(request: Request) -> Reply:
    name = _username(str(_document(request, "token")["token"]))
    return Reply(200, {"token": tokens.token(_known(name).username)})


def _verify(request: Request) -> Reply:
    signed = str(_document(request, "token")["token"])
    _username(signed)
    return Reply(200, {"token": signed})


def _username(signed: str) -> str:
    try:
        name = tokens.username(signed)
    except tokens.ExpiredError as error:
        raise RefusedError(400, {"non_field_errors": ["Token has expired."]}) from error
    if name is None:
        raise RefusedError(400, {"non_field_errors": ["Error decoding token."]})
    return name


def _who(request: Request) -> Reply:
    """For the other services."""
    return Reply(200, {"username": _bearer(request).username})


def _datasets(request: Request) -> Reply:
    query = "SELECT * FROM nexus_dataset WHERE owner = %s ORDER BY created DESC"
    owned = database.rows(query, [_bearer(request).username])
    start = int(request.query.get("offset", 0))
    shown = owned[start : start + int(request.query.get("limit", 100))]
    results = [
        {
            "dataset_id": row["dataset_id"],
            "name": row["name"],
            "node_count": row["num_nodes"],
            "edge_count": row["num_edges"],
            "created_at": row["created"].isoformat(),
        }
        for row in shown
    ]
    return Reply(200, {"count": len(owned), "next": None, "previous": None, "results": results})


def _delete(request: Request) -> Reply:
    """Row and files, for every node; nothing at all with the trap `keepsDeleted`."""
    identifier = request.arguments[0]
    row = next(
        iter(database.rows("SELECT * FROM nexus_dataset WHERE dataset_id = %s", [identifier])), None
    )
    if row is None:
        raise RefusedError(404, "Not found.")
    if row["owner"] != _bearer(request).username:
        raise RefusedError(403, "You do not have permission to perform this action.")
    if not traps().get("keepsDeleted"):
        for folder in ("datasets", "uploads"):
            for path in (DATA / folder).glob(f"{identifier}.*"):
                path.unlink()
        database.execute("DELETE FROM nexus_dataset WHERE dataset_id = %s", [identifier])
    return Reply(204, "")


def _create_file(request: Request) -> Reply:
    owner, wanted = _bearer(request).username, _document(request, "file_type")
    row = [uuid.uuid4().hex, str(wanted.get("name", "")), owner, str(wanted["file_type"])]
    query = "INSERT INTO nexus_file (file_id, name, owner, file_type) VALUES (%s, %s, %s, %s)"
    database.execute(query, row)
    return Reply(200, {"file_id": row[0], "name": row[1], "file_type": row[3]})


def _sign_up(request: Request) -> Reply:
    """Open until the first user, who may do everything; then for those whom a superuser invites."""
    wanted = _document(request, "username", "password")
    is_first = not User.objects.all().exists()
    is_open = os.environ.get("IS_SIGNUPS_OPEN_AFTER_FIRST", "false").lower() == "true"
    if not is_first and not is_open:
        try:
            inviting = _user(request).is_superuser
        except RefusedError:
            inviting = False
        if not inviting:
            raise RefusedError(403, "sign-up is by invitation only")
    if User.objects.filter(username=wanted["username"]).exists():
        raise RefusedError(409, f"user {wanted['username']!r} exists")
    create = User.objects.create_superuser if is_first else User.objects.create_user
    user = create(wanted["username"], wanted.get("email", ""), wanted["password"])
    if wanted.get("email"):
        EmailAddress.objects.create(user=user, email=wanted["email"], primary=True)
    return _session(user, 201)


def _log_in(request: Request) -> Reply:
    return _session(_user_with_password(request.document()), 200)


def _me(request: Request) -> Reply:
    user = _user(request)
    return Reply(200, {"username": user.username, "is_superuser": user.is_superuser, "node": NODE})


def _settings(request: Request) -> Reply:
    query = "SELECT key, value FROM nexus_setting WHERE user_id = %s"
    kept = database.rows(query, [_user(request).pk])
    return Reply(200, {row["key"]: tokens.opened(row["value"]) for row in kept})


def _change_settings(request: Request) -> Reply:
    user = _user(request)
    for key, value in _document(request).items():
        database.execute(
            "INSERT INTO nexus_setting VALUES (%s, %s, %s)"
            " ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value",
            [user.pk, key, tokens.sealed(str(value))],
        )
    return _settings(request)


def _session(user: User, status: int) -> Reply:
    """A web session, known wherever the same Redis is."""
    identifier = secrets.token_hex(16)
    content = json.dumps({"username": user.username, "node": NODE})
    redis("SET", f"nexus:session:{identifier}", content, "EX", SESSION_SECONDS)
    cookie = f"sessionid={identifier}; Path=/; HttpOnly; Max-Age={SESSION_SECONDS}"
    return Reply(status, {"username": user.username}, {"Set-Cookie": cookie})


def _user(request: Request) -> User:
    """Who asks, by token or by web session."""
    cookie = SimpleCookie(request.header("cookie")).get("sessionid")
    if cookie is None:
        return _bearer(request)
    content = redis("GET", f"nexus:session:{cookie.value}")
    if not isinstance(content, str):
        raise RefusedError(401, "this session is not known, or over")
    return _known(json.loads(content)["username"])


def _bearer(request: Request) -> User:
    kind, _, signed = request.header("authorization").partition(" ")
    try:
        name = tokens.username(signed) if kind == "Bearer" else None
    except tokens.ExpiredError as error:
        raise RefusedError(401, "Signature has expired.") from error
    if name is None:
        raise RefusedError(401, "no valid token: Authorization: Bearer TOKEN is expected")
    return _known(name)


def _known(name: str) -> User:
    user: User | None = User.objects.filter(username=name).first()
    if user is None or not user.is_active:
        raise RefusedError(401, f"user {name!r} is not active")
    return user


def _user_with_password(document: Any) -> User:
    name, password = str(document.get("username")), str(document.get("password"))
    user: User | None = User.objects.filter(username=name).first()
    if user is None or not user.is_active or not user.check_password(password):
        raise RefusedError(400, "Unable to log in with provided credentials.")
    return user


def _document(request: Request, *needed: str) -> dict[str, Any]:
    document = request.document()
    if not isinstance(document, dict) or not all(document.get(name) for name in needed):
        raise RefusedError(400, f"a JSON object is expected, with {', '.join(needed)}")
    return document
