"""What changed in a stack file since the last deployment, told before the engine's own plan."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from model.changed_keys import ChangedKey, changed_keys
from model.changes import Effect
from model.problems import Problem, SettingsError, UserError, counted, numbered
from model.settings.configuration import SECRET_ENV, settings_of_the_past
from model.settings.read import AnySettings, given, parse
from model.settings.stack_keys import PROJECT
from operate.stack.deployment import Deployment
from operate.stack.rehearsed_hosts import STACK_FILE
from operate.stack.stack_file import ENCRYPTED, ENCRYPTED_ENV, settings_of
from preflight.tables import plain_table

_COLOURS = {
    Effect.IN_PLACE: "green",
    Effect.NEXT_MACHINE: "green",
    Effect.ROLLING: "yellow",
    Effect.REPLACES: "yellow",
    Effect.NEVER: "bold red",
}
_ENCRYPTED = {f"{PROJECT}:{SECRET_ENV}": json.dumps(ENCRYPTED_ENV)}
_RUNS = 50
"""Runs that are looked back; destroyed and failed ones come between."""


class UnknownSettingsError(Exception):
    """What was deployed last cannot be told; the message says why."""


def changes_since_deployment(deployment: Deployment) -> tuple[ChangedKey, ...]:
    """Every key in which the stack file differs from what was deployed last; none before the first deployment.

    Raises :class:`UnknownSettingsError`.
    """
    before = deployed_settings(deployment)
    if before is None:
        return ()
    rehearses = deployment.config.get(STACK_FILE)
    after = settings_of(json.loads(rehearses)) if rehearses else deployment.settings
    return changed_keys(before, after, _held(deployment))


def deployed_settings(deployment: Deployment) -> AnySettings | None:
    """The settings of the last deployment that succeeded, from Pulumi's history of the stack; None before the first.

    Raises :class:`UnknownSettingsError` for those of a version of this program whose keys were others.
    """
    history = json.loads(
        deployment.read(
            "stack", "history", "--json", "--page-size", str(_RUNS), *deployment.named()
        )
    )
    done = [each for each in history or [] if each["result"] == "succeeded"]
    changing = [each for each in done if each["kind"] in ("update", "destroy")]
    if not changing or changing[0]["kind"] == "destroy":
        return None
    config = {
        key: (_ENCRYPTED.get(key, ENCRYPTED) if entry["secret"] else entry["value"])
        for key, entry in changing[0]["config"].items()
    }
    raw = given(config, PROJECT)
    raw.pop("deleteData", None)
    try:
        with settings_of_the_past():
            if STACK_FILE in config:
                return settings_of(json.loads(config[STACK_FILE]))
            return parse(raw)
    except SettingsError as error:
        raise UnknownSettingsError(
            f"the last deployment had settings that this version does not read: {error.problems[0].path}"
        ) from None


def _held(deployment: Deployment) -> dict[str, object]:
    """The zone of the leader's data, which the program chose where the stack file named none."""
    zones = [
        each["outputs"]["availabilityZone"]
        for each in deployment.checkpoint().get("resources", [])
        if each["type"] == "aws:ebs/volume:Volume" and not each.get("delete")
    ]
    return {"leader.availabilityZone": zones[0]} if zones else {}


def refuse_never(changes: Iterable[ChangedKey]) -> None:
    """Raise :class:`UserError` with every one of the *changes* that a cluster cannot take."""
    problems = tuple(
        Problem(each.path, each.after, f"{each.before}, as it is deployed", each.words)
        for each in changes
        if each.effect is Effect.NEVER
    )
    if problems:
        head = f"{counted(len(problems), 'change')} {'is' if len(problems) == 1 else 'are'}"
        end = (
            "Nothing was changed. Put back what is deployed, or copy the stack file under another name for another "
            "cluster"
        )
        raise UserError("\n\n".join((f"{head} refused:", *numbered(problems), end)))


def change_table(changes: Iterable[ChangedKey]) -> Table:
    """Each changed key, and what it does to which nodes."""
    columns = ("changed key", "from", "to", "nodes", "what it does")
    table = plain_table(*columns, prose=columns[1:])
    for each in changes:
        effect = f"[{_COLOURS[each.effect]}]{each.effect.value}[/]: {escape(each.words)}"
        nodes = ", ".join(each.nodes) or "-"
        table.add_row(escape(each.path), escape(each.before), escape(each.after), nodes, effect)
    return table
