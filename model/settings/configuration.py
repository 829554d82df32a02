"""The keys `configuration` and `secretEnv`: variables and files of a release that the stack file brings to its nodes.

What the agent sets itself is refused with the key to use instead, so that nothing is set twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from model.settings.fields import Words, refusal
from model.settings.sections import Section

ROOT = Path(__file__).resolve().parents[2]
"""Where relative paths of the stack file begin."""
LARGEST_FILE = 64 * 1024
"""Bytes. Files go with the node's specification, which every change of them writes anew."""
MOST_FILES = 20
MOST_SECRET_TEXT = 48 * 1024
"""Bytes of all secret variables. A secret of Secrets Manager has at most 64 KiB (AWS: quotas), of JSON with escapes."""
SECRET_ENV = "secretEnv"  # noqa: S105 the name of a key
"""The key of the stack file. Pulumi marks whole keys as secret, so it is one of its own and not of `configuration`."""
SECRET_ENV_NAME = "secret-env"  # noqa: S105 the end of a name
"""What the name of its resource ends with; on AWS it tells it from those that hold a cluster's data."""
SET_SECRET = f"pulumi config set --stack STACK --secret --path graphistry-cluster:{SECRET_ENV}."
"""The command that encrypts a variable, to be continued by its name. It asks for the value, so that no shell's history
has it."""

_MADE = "no key: the leader makes it, and keeps it as the cluster's secret"
_FIXED = "no key: a cluster needs the program's value"
_LEADERS = "no key: every node uses the leader's PostgreSQL"
_WIRED = "no key: the program wires each service to its Redis"
_DATABASES = "no key: a database that exists is not found under another name or in another folder"
OWN: Mapping[str, str] = {
    "ENABLE_CLUSTER_MODE": _FIXED,
    "NODE_TYPE": "no key: a node is `leader`, or one of `followers`",
    "LOCAL_DATASET_CACHE_DIR": "sharedFolder",
    "POSTGRES_HOST": _LEADERS,
    "POSTGRES_PORT": _LEADERS,
    "DATABASE_URL": _LEADERS,
    "PGDATA": _DATABASES,
    "POSTGRES_DB": _DATABASES,
    "POSTGRES_USER": _DATABASES,
    "CUDA_VISIBLE_DEVICES": "gpus of the GPU profile or the node",
    "FORGE_NUM_WORKERS": "workersPerGpu.forge of the GPU profile",
    "STREAMGL_NUM_WORKERS": "workersPerGpu.streamgl of the GPU profile",
    "DASK_NUM_WORKERS": "workersPerGpu.dask of the GPU profile",
    "CLEAR_LOCAL_SESSION_CACHE_ON_STARTUP": _FIXED,
    "REDIS_URL": _WIRED,
    "NODE_REDIS_URL": _WIRED,
    "REDISCLI_AUTH": _MADE,
    "REDIS_PASSWORD": _MADE,
    "POSTGRES_PASSWORD": _MADE,
    "DJANGO_SECRET_KEY": _MADE,
    "GRAPHISTRY_NEXUS_ENCRYPTION_KEYS": _MADE,
    "GRAPHISTRY_NEXUS_SIGNING_KEY": _MADE,
    "GRAPHISTRY_NEXUS_SIGNING_SALT": _MADE,
    "STREAMGL_SECRET_KEY": _MADE,
    "VERSION": "release.version",
    "CUDA_SHORT_VERSION": "release.cuda",
}
"""Variables that the agent or the release sets, and the key by which a stack file says them."""
_OWN_FILES: Mapping[str, str] = {
    "data/config/custom.env": "use configuration.env, a variable each",
    "data/config/cluster.env": "the agent writes it",
    "docker-compose.override.yml": "the agent writes it; one that is put on the machine by hand stays",
    "docker-compose.graphistry-cluster.yml": "the agent writes it",
    "graphistry": "it is the release's own command line",
    "VERSION": "use release.version",
    "CUDA_SHORT_VERSION": "use release.cuda",
}
_OF_USERS = (
    "notebooks",
    "public_views",
    "private_views",
    "investigation",
    "pivot",
    "workbook_cache",
)
_OF_POSTGRES = ("postgresql_data", "postgres_backups")
"""Folders of `data` that the agent lays elsewhere: what is in the release's own, no service sees."""
_SECRET = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|KEYS?)$", re.IGNORECASE
)


def secret_variable(name: str) -> str:
    """A variable that the agent does not set itself."""
    if name in OWN:
        raise refusal(f"the program sets it; the key to use instead is: {OWN[name]}", got=name)
    if name.startswith("COMPOSE_"):
        raise refusal(
            "it is Docker Compose's own, which the release's command line sets; the services never see it",
            got=name,
        )
    return name


def variable(name: str) -> str:
    """A variable that the agent does not set itself, and that is no secret by its name."""
    secret_variable(name)
    if _SECRET.search(name):
        raise refusal(
            f"it sounds like a secret, and would stand in the state for everybody to read; take it out, and put it in "
            f"encrypted by `{SET_SECRET}{name}`; use another value if it was shared",
            got=name,
        )
    return name


def one_line(value: str) -> str:
    """A value that a file of variables can hold as it is."""
    if found := _unwritable(value):
        raise refusal(f"{found[1]}; put such text into a file of `files`", got=found[0])
    return value


def _unwritable(value: str) -> tuple[str, str] | None:
    """What a value has that a file of variables cannot hold, and why."""
    if re.search(r"[\x00-\x1f\x7f]", value):
        return "text of several lines", "a file of variables has one line each"
    if "'" in value or value.endswith("\\"):
        return (
            "text with a single quote, or a backslash at its end",
            "the agent puts it between single quotes, in which Compose reads no single quote, and no backslash at the "
            "end",
        )
    return None


def secret_value(value: SecretStr) -> SecretStr:
    """A value of which nothing is shown, whatever is wrong with it."""
    text = value.get_secret_value()
    if not 1 <= len(text) <= 4096:
        raise refusal("", got=f"text of {len(text)} characters")
    if found := _unwritable(text):
        raise refusal(found[1], got=found[0])
    return value


def fits(variables: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """As many secret variables as one secret holds."""
    size = sum(
        len(name) + len(each.get_secret_value().encode()) for name, each in variables.items()
    )
    if size > MOST_SECRET_TEXT:
        raise refusal(
            f"names and values together have {MOST_SECRET_TEXT} bytes at most",
            got=f"{size} bytes of names and values",
        )
    return variables


def release_path(path: str) -> str:
    """A place below the release's folder that is nobody else's to write."""
    if path in _OWN_FILES:
        raise refusal(_OWN_FILES[path], got=path)
    if path.startswith(tuple(f"data/{each}/" for each in (*_OF_USERS, *_OF_POSTGRES))):
        raise refusal(
            "the agent lays that folder elsewhere, and no service would see the file", got=path
        )
    if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise refusal(
            "give it from the release's folder on, without a slash in front and without dots",
            got=path,
        )
    return path


_are_past: ContextVar[bool] = ContextVar("are_past", default=False)


@contextmanager
def settings_of_the_past() -> Iterator[None]:
    """Read settings that were deployed once: local files that they name may be gone, and are not looked at."""
    token = _are_past.set(True)
    try:
        yield
    finally:
        _are_past.reset(token)


def local_file(path: str) -> str:
    """A text file of this computer that is there, and no secret."""
    if _are_past.get():
        return path
    text = content(path)
    if re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----", text):
        raise refusal(
            "a private key would stand in the specification for everybody to read who reads the state or the bucket; "
            "bring it to the nodes by a way of your own, or let Caddy get its certificates itself",
            got=path,
        )
    return path


def content(path: str) -> str:
    """The text of a local file; raises the refusal that a setting raises."""
    place = ROOT / path
    try:
        size = place.stat().st_size
        if size > LARGEST_FILE:
            raise refusal(f"it has {size} bytes, and {LARGEST_FILE} are the most", got=path)
        return place.read_bytes().decode()
    except OSError as error:
        raise refusal(f"{place} cannot be read: {error.strerror}", got=path) from None
    except UnicodeDecodeError:
        raise refusal(f"{place} is no text in UTF-8", got=path) from None


_NAME = StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
Variable = Annotated[
    str,
    _NAME,
    AfterValidator(variable),
    Words("the name of a variable such as SMTP_HOST"),
]
Value = Annotated[
    str,
    StringConstraints(max_length=4096),
    AfterValidator(one_line),
    Words('text in quotes such as "true", at most 4096 characters on one line'),
]
ReleasePath = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,255}$"),
    AfterValidator(release_path),
    Words('a path in the release such as "data/config/Caddyfile"'),
]
LocalFile = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    AfterValidator(local_file),
    Words('the path of a text file on this computer such as "stacks/prod.Caddyfile"'),
]


SecretVariable = Annotated[
    str,
    _NAME,
    AfterValidator(secret_variable),
    Words("the name of a variable such as SMTP_PASSWORD"),
]
SecretValue = Annotated[
    SecretStr,
    AfterValidator(secret_value),
    Words("an encrypted text of 1 to 4096 characters on one line"),
]
SecretEnv = Annotated[
    dict[SecretVariable, SecretValue],
    AfterValidator(fits),
    Words(f"a map from the name of a variable to its encrypted text, each by `{SET_SECRET}NAME`"),
]


class Configuration(Section):
    """What the release is told beside what this program tells it. It is in the specification, for everybody to read
    who reads the stack's state. A file or variable that somebody has edited on a machine is named in the node's report,
    and stays until the machine goes."""

    env: Annotated[
        dict[Variable, Value], Words("a map from the name of a variable to its text")
    ] = Field(default_factory=dict)
    """Further variables of `custom.env`, no secrets, which are in `secretEnv`; those of a node go before those of the
    cluster. A change restarts the services that have them, in place."""
    files: Annotated[
        dict[ReleasePath, LocalFile],
        Field(max_length=MOST_FILES),
        Words(f"a map of at most {MOST_FILES} files, path in the release to path on this computer"),
    ] = Field(default_factory=dict)
    """Files of the release that are to have the content of files on this computer, of at most 64 KiB; relative paths
    begin at the program's folder. Those of a node go before those of the cluster. A change, of their content too, makes
    the services that have them anew, in place; one that is taken out gives place to what was there before."""


def document(of_cluster: Configuration, of_node: Configuration) -> dict[str, object]:
    """What a node's specification says of both; reads the files."""
    files = {**of_cluster.files, **of_node.files}
    return {
        "env": {**of_cluster.env, **of_node.env},
        "files": {path: content(local) for path, local in files.items()},
    }
