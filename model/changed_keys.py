"""Which keys two stack files of one cluster differ in, and what each of the changes does to which nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel

from model.changes import ON_AWS, ON_HOSTS, OTHER_CLUSTER, Change, Effect
from model.problems import path_of, shown
from model.settings.aws import FollowersOnAws, JoinedSettings, Settings
from model.settings.configuration import SECRET_ENV
from model.settings.fields import values_of
from model.settings.hosts import FollowersOnHosts, JoinedHostsSettings
from model.settings.read import AnySettings

LEADER = "leader"

Value: TypeAlias = object
_ABSENT: Value = None
_ENTRY = "<name>"
_SECRETS: Value = "secrets"


@dataclass(frozen=True, kw_only=True)
class ChangedKey:
    """A key in which two stack files differ, and what that does to some nodes."""

    path: str
    before: str
    """As the stack file would say it; "nothing" where it was not there."""
    after: str
    nodes: tuple[str, ...]
    """Nodes that it is about; empty where it is about none that both files have."""
    effect: Effect
    words: str


def changed_keys(
    before: AnySettings, after: AnySettings, held: Mapping[str, Value] | None = None
) -> tuple[ChangedKey, ...]:
    """Every key in which two stack files of one cluster differ, in the order of the stack file's sections.

    *held* maps keys to what the cluster has, whatever the stack file said before, and means where it says nothing. A
    default, or what the cluster has, is no difference when it is spelled out. A key that does different things to
    leader and followers is there once for each.
    """
    if type(before) is not type(after):
        return (_changed("site", _kind(before), _kind(after), (), OTHER_CLUSTER),)
    declared = ON_HOSTS if isinstance(after, FollowersOnHosts) else ON_AWS
    old, new = (dict(_values(each)) for each in (before, after))
    found: list[ChangedKey] = []
    for path in dict.fromkeys([*new, *old]):
        pattern, _ = new.get(path) or old[path]
        was, is_now = (values.get(path, (pattern, _ABSENT))[1] for values in (old, new))
        if held and path in held:
            was, is_now = held[path], held[path] if is_now is _ABSENT else is_now
        if was != is_now and not _is_of_other_entry(path, found):
            told = (_told(was, pattern), _told(is_now, pattern))
            nodes = _nodes(path, before, after)
            change = declared[pattern]
            if is_now is _ABSENT and change.taken_out is not None:
                change = change.taken_out
            found += _per_node(path, *told, nodes, change, smaller=_is_smaller(was, is_now))
    return (*found, *_smaller_disk_of_another_profile(before, after))


def _is_smaller(was: Value, is_now: Value) -> bool:
    """Whether a number is smaller, or a list or a placement leaves less to choose from; no list is every choice."""
    if isinstance(was, int) and isinstance(is_now, int):
        return is_now < was
    if isinstance(was, tuple) and isinstance(is_now, tuple):
        return bool(is_now) and (not was or not set(was) <= set(is_now))
    return is_now == "packed"


def _smaller_disk_of_another_profile(
    before: AnySettings, after: AnySettings
) -> Iterator[ChangedKey]:
    """The root disk of a leader that takes another profile, where that has a smaller one."""
    if not (isinstance(before, Settings) and isinstance(after, Settings)):
        return
    was, is_now = (each.profile_of(LEADER).root_volume_gib for each in (before, after))
    if before.leader.profile != after.leader.profile and is_now < was:
        path = path_of(("gpuProfiles", after.leader.profile, "rootVolumeGib"))
        change = ON_AWS["gpuProfiles.<name>.rootVolumeGib"]
        yield from _per_node(path, str(was), str(is_now), (LEADER,), change, smaller=True)


def _kind(settings: AnySettings) -> str:
    joined = isinstance(settings, JoinedSettings | JoinedHostsSettings)
    return f"{settings.site}, {'followers of another leader' if joined else 'with a leader'}"


def _per_node(
    path: str, was: str, is_now: str, nodes: tuple[str, ...], change: Change, *, smaller: bool
) -> Iterator[ChangedKey]:
    groups = {nodes: change}
    if change.to_leader is not None and LEADER in nodes:
        followers = tuple(node for node in nodes if node != LEADER)
        groups = {(LEADER,): change.to_leader} | ({followers: change} if followers else {})
    for group, done in groups.items():
        yield _changed(path, was, is_now, group, done.smaller if smaller and done.smaller else done)


def _changed(
    path: str, was: str, is_now: str, nodes: tuple[str, ...], change: Change
) -> ChangedKey:
    return ChangedKey(
        path=path, before=was, after=is_now, nodes=nodes, effect=change.effect, words=change.words
    )


def _values(settings: BaseModel) -> Iterator[tuple[str, tuple[str, Value]]]:
    """Path of every value, with the path that declares it and the value; an entry comes before what is in it."""
    for path, pattern, value in values_of(settings):
        if path == (SECRET_ENV,):
            # Before and after are encrypted: whether there is any is all that can be told.
            value = _SECRETS if value else _ABSENT
        yield path_of(path), (path_of(pattern).replace(f'"{_ENTRY}"', _ENTRY), value)


def _is_of_other_entry(path: str, found: list[ChangedKey]) -> bool:
    """Whether a key is in an entry that is new or gone as a whole, and told already."""
    return any(
        path.startswith(f"{each.path}.") for each in found if "nothing" in (each.before, each.after)
    )


def _told(value: Value, pattern: str) -> str:
    if value is _ABSENT:
        return "nothing"
    if pattern.endswith(_ENTRY):
        return "there"
    if value is _SECRETS:
        return "encrypted variables"
    if isinstance(value, str) and "PRIVATE KEY" in value:
        return "a secret"
    if isinstance(value, tuple):
        return f"[{', '.join(str(each) for each in value)}]"
    return shown(value)


def _nodes(path: str, before: AnySettings, after: AnySettings) -> tuple[str, ...]:
    """The nodes that a key is about, of those that run and will go on."""
    names = [name for name in _names(after) if name in _names(before)]
    section, _, rest = path.partition(".")
    if section == LEADER:
        return (LEADER,)
    if section == "followers":
        name = rest.split(".")[0]
        return (name,) if name in names else ()
    if section == "gpuProfiles":
        profile = rest.split(".")[0]
        return tuple(name for name in names if _profile(after, name) == profile)
    if section == "placement":
        return tuple(name for name in names if _is_placed(after, name))
    every_node = ("configuration", SECRET_ENV, "image", "release", "network", "telemetry")
    return tuple(names) if section in every_node else ()


def _is_placed(settings: AnySettings, name: str) -> bool:
    """Whether the placement says where a node goes: it is a follower that names no zones."""
    return name != LEADER and not getattr(settings.followers[name], "availability_zones", ())


def _names(settings: AnySettings) -> tuple[str, ...]:
    return settings.node_names if isinstance(settings, FollowersOnAws) else tuple(settings.nodes)


def _profile(settings: AnySettings, name: str) -> str:
    leader = getattr(settings, LEADER, None)
    node = leader if name == LEADER and leader is not None else settings.followers[name]
    return str(node.profile)
