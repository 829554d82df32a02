"""A plan that would replace or delete what holds a user's data: refused, unless its name is typed.

Pulumi's own protection refuses it as well, in the middle of its work and without saying what to do.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from model.changed_keys import ChangedKey
from model.changes import Effect
from model.cost import LISTED
from model.prices import LISTED_REGION, SNAPSHOT
from model.problems import UserError
from model.recorded import AWS_PROVIDER
from model.settings.configuration import SECRET_ENV_NAME
from model.settings.stack_keys import DELETE_DATA, PROJECT
from model.tags import BACKUPS_TAG, CLUSTER_TAG, GIVEN_UP_TAG, ID_TAG
from operate.stack.deployment import ROOT, Deployment
from operate.terminal.messages import say
from preflight.tables import plain_table

VOLUME = "aws:ebs/volume:Volume"
"""Pulumi's type of the leader's data volume."""

MACHINE = "aws:ec2/instance:Instance"
"""Pulumi's type of the leader's machine."""

FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 a type of Pulumi

DATA: Mapping[str, str] = {
    VOLUME: "accounts, settings and metadata of every dataset (PostgreSQL)",
    FILE_SYSTEM: "uploads, files and datasets",
    "aws:s3/bucket:Bucket": "specifications and reports of every node",
    SECRET: "passwords and keys; without them the database cannot be read",
    "docker:index/volume:Volume": "the data of PostgreSQL or Redis",
}
"""Pulumi type to what is in it; what else is protected guards one of these."""

KEPT = frozenset(
    {
        # Those of hosts are never protected: removal leaves them where they are.
        *(each for each in DATA if each.startswith("aws:")),
        AWS_PROVIDER,
        "aws:dlm/lifecyclePolicy:LifecyclePolicy",
        "aws:efs/backupPolicy:BackupPolicy",
        "aws:efs/fileSystemPolicy:FileSystemPolicy",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
    }
)
"""Pulumi's types of what the program protects: data, what guards it, and what it is reached by."""

DATA_OF_KEY: Mapping[str, str] = {
    "leader.availabilityZone": "aws:ebs/",
    "leader.dataVolume.snapshotId": "aws:ebs/",
    "sharedFolder.fileSystemId": "aws:efs/",
}
"""Keys that a cluster cannot take as long as it has data of this kind, which may be given up by name: how the types of
the data and of what guards them begin, as a plan ends at the first of them that is protected."""

PROTECTION_KEY = f"{PROJECT}:{DELETE_DATA}"
"""Lifts the protection of all data; `./cluster purge` sets it for itself."""

_LOSING = ("replace", "create-replacement", "delete-replaced", "delete")
_PROTECTED = ("marked for protection", "because it is protected")
_DANGEROUS = (Effect.REPLACES, Effect.NEVER)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One protected resource that a plan would give up."""

    urn: str
    type: str
    identity: str
    """Id by which AWS or Docker knows it."""
    retained: bool = True
    """Whether AWS keeps it once the state forgets it: no more after a run with ``deleteData``."""

    @property
    def name(self) -> str:
        """What must be typed."""
        return self.urn.rsplit("::", 1)[-1]


def may_lose_data(changes: Collection[ChangedKey] | None, deployment: Deployment) -> bool:
    """Whether a plan must be looked at: a change may replace something, or nobody knows what changed, as after
    `./cluster down`, whose data is compared with no stack file.

    Asking Pulumi for a plan costs a run of the program; what its own protection refuses needs none.
    """
    lifted = bool(deployment.config.get(PROTECTION_KEY))
    if lifted or changes is None or any(each.effect in _DANGEROUS for each in changes):
        return True
    return not changes and _is_data_alone(deployment.checkpoint().get("resources", []))


def never(
    changes: Iterable[ChangedKey],
    lost: Collection[Loss],
    resources: Iterable[Mapping[str, Any]],
) -> list[ChangedKey]:
    """Those of the *changes* that no name makes possible: neither does the plan give up the data that they hold on to,
    nor did a run before this one, which failed later."""
    given_up = {each.type for each in lost}
    held = {each["type"] for each in resources if each.get("protect") and not each.get("delete")}

    def is_possible(change: ChangedKey) -> bool:
        kind = DATA_OF_KEY.get(change.path)
        if kind is None:
            return False
        was_given_up = change.before == "nothing" and not any(
            each.startswith(kind) for each in held
        )
        return was_given_up or any(each.startswith(kind) for each in given_up)

    return [each for each in changes if each.effect is Effect.NEVER and not is_possible(each)]


def losses(plan: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> list[Loss]:
    """What a plan (``pulumi preview --json``) would replace or delete of the *resources* of the state that hold data.

    A plan ends at the first protected resource that it may not delete; the others below the same component are in it
    all the same.
    """
    ending = {step["urn"] for step in plan.get("steps", []) if step["op"] in _LOSING}
    ending |= set(_of_protected(plan))
    deleted = {step["urn"] for step in plan.get("steps", []) if step["op"] == "delete"}
    return [
        Loss(
            urn=each["urn"],
            type=each["type"],
            identity=str(each.get("id", "")),
            retained=bool(each.get("retainOnDelete")),
        )
        for each in resources
        if (each.get("protect") or (each["type"] in DATA and not _is_secret_env(each)))
        and not each.get("delete")
        and (each["urn"] in ending or each.get("parent") in deleted)
    ]


def refuse(lost: Collection[Loss], typed: Collection[str], choice: str) -> None:
    """Raise :class:`UserError` unless the names of all data that a plan would give up were *typed*."""
    wanted = [each.name for each in lost if each.type in DATA] or [each.name for each in lost]
    missing = [name for name in wanted if name not in typed]
    unknown = sorted(set(typed) - set(wanted))
    if unknown:
        raise UserError(
            f"NAME: got {', '.join(unknown)}, which this plan does not give up; "
            f"{'allowed: ' + ', '.join(wanted) if wanted else 'it gives up no kept data: leave NAME out'}"
        )
    if missing:
        # What is named is not kept in AWS then, as it is otherwise.
        ends = [each.name for each in lost if each.type in DATA and not each.retained]
        deleted = f". A run with {DELETE_DATA} has let AWS DELETE {', '.join(ends)}" * bool(ends)
        raise UserError(
            f"this plan replaces or deletes kept data: {', '.join(wanted)}{deleted}. Nothing was changed. Put the key "
            f"back; or, to go on without that data, type its name: ./cluster up{choice} --name {','.join(wanted)}"
        )


def loss_table(lost: Iterable[Loss]) -> Table:
    """What would be given up."""
    table = plain_table("given up", "where", "what is in it", prose=("what is in it",))
    for each in lost:
        table.add_row(each.name, each.identity, DATA.get(each.type, "guards the data"))
    return table


def planned(deployment: Deployment) -> dict[str, Any]:
    """Pulumi's plan, as far as it comes; what else is wrong with it, the run that follows will say.

    Raises :class:`UserError` where it fails while the stack file lifts the protection of data: the run that follows
    would give up what the rest of the plan names, and nothing would hold it back.
    """
    done = subprocess.run(
        ["pulumi", "preview", "--json", *deployment.configured()],
        env=deployment.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    start = done.stdout.find("{")
    try:
        plan: dict[str, Any] = json.loads(done.stdout[start:]) if start >= 0 else {}
    except ValueError:
        plan = {}
    ended = not done.returncode or any(_of_protected(plan))
    if not ended and deployment.config.get(PROTECTION_KEY):
        raise UserError(
            f"{PROTECTION_KEY} lifts the protection of data, and Pulumi's plan, which says what would be lost, failed; "
            f"nothing was changed. `pulumi preview --stack {deployment.stack}` shows why. Fix that, or take the key out"
        )
    return plan


def _of_protected(plan: Mapping[str, Any]) -> Iterator[str]:
    """URNs at which a plan ends because the state protects them."""
    for told in plan.get("diagnostics") or []:
        if "urn" in told and any(words in told["message"] for words in _PROTECTED):
            yield told["urn"]


@contextmanager
def unprotected(deployment: Deployment, lost: Collection[Loss]) -> Iterator[None]:
    """Lift the protection of what somebody has typed the name of; what is still there afterwards is protected again.

    AWS keeps what is retained all the same: the state only forgets it.
    """
    if not lost:
        yield
        return
    urns = [each.urn for each in lost]
    try:
        # First: a run that is killed later must not have recovery take for new what was given up.
        for each in lost:
            _mark(deployment, each)
        deployment.read("state", "unprotect", "--yes", *deployment.named(), *urns)
        yield
    finally:
        # A run that was stopped leaves what it replaced under the same name, to be let go by the next one.
        left = _present(deployment.checkpoint().get("resources", []))
        for urn in urns:
            if urn in left and not left[urn].get("protect"):
                deployment.read("state", "protect", "--yes", *deployment.named(), urn)
        for each in lost:
            if not _is_gone(each, left):
                _unmark(deployment, each)
        gone = [each for each in lost if each.type in DATA and _is_gone(each, left)]
        snapshots = final_snapshots(deployment, gone)
        for each in gone:
            if each.identity not in snapshots:
                now = "and AWS keeps it" if each.retained else f"and it is deleted ({DELETE_DATA})"
                say(f"{each.name}: the cluster has let go of {each.identity}, {now}")
                _stop_backups(deployment, each)
        for told in snapshots.values():
            say(told)


def refuse_beside_a_machine(
    lost: Collection[Loss],
    resources: Iterable[Mapping[str, Any]],
    snapshot: str | None,
    choice: str,
) -> None:
    """Raise :class:`UserError` when a *snapshot* would take the place of a data volume that a machine uses.

    The provider stops a machine to take its volume away, and starts it no more.
    """
    volume = next((each for each in lost if each.type == VOLUME), None)
    runs = any(each["type"] == MACHINE for each in resources)
    if volume is not None and snapshot is not None and runs:
        raise UserError(
            f"leader.dataVolume.snapshotId: got {snapshot!r}, and the leader's machine uses {volume.identity}. Nothing "
            "was changed. First end the machines: "
            f"./cluster down{choice}; then ./cluster up{choice} --name {volume.name}"
        )


def data_volumes(deployment: Deployment) -> list[Loss]:
    """The data volumes in the state of a stack."""
    return [
        Loss(urn=each["urn"], type=each["type"], identity=str(each.get("id", "")))
        for each in deployment.checkpoint().get("resources", [])
        if each["type"] == VOLUME and not each.get("delete")
    ]


def final_snapshots(deployment: Deployment, lost: Collection[Loss]) -> dict[str, str]:
    """By id, what to say of each volume among *lost* that AWS has no more: its last snapshot, and what that costs."""
    told: dict[str, str] = {}
    for each in lost:
        if each.type != VOLUME or _exists(deployment, each.identity):
            continue
        found = _snapshots(deployment, {"volume-id": each.identity})
        told[each.identity] = (
            _newest(each.name, found)
            if found
            else f"{each.name}: {each.identity} is deleted, and no snapshot of it is there"
        )
    return told


def snapshot_of_purged(deployment: Deployment, identity: str) -> str:
    """What to say of the data volume that a purge deleted which was interrupted, and which no state knows any more.

    Its last snapshot has the volume's tags; the state's *identity* is empty where that is gone too.
    """
    name = f"graphistry-{deployment.stack}-leader-data"
    state = {f"tag:{ID_TAG}": identity} if identity else {}
    tagged = {f"tag:{CLUSTER_TAG}": deployment.cluster, "tag:Name": name, **state}
    # A volume that is still there was given up by its name, or is another state's.
    found = [
        each for each in _snapshots(deployment, tagged) if not _exists(deployment, each["VolumeId"])
    ]
    if found:
        return _newest(name, found)
    return f"{name}: neither the state has this volume nor {deployment.region} a snapshot of it"


def _snapshots(deployment: Deployment, filters: Mapping[str, str]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = deployment.client("ec2").describe_snapshots(
        Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()],
        OwnerIds=["self"],
    )["Snapshots"]
    return found


def _newest(name: str, found: Collection[Mapping[str, Any]]) -> str:
    last = max(found, key=lambda snapshot: snapshot["StartTime"])
    identity, size = last["SnapshotId"], last["VolumeSize"]
    at_most = LISTED[SNAPSHOT].usd * size
    others = f"; {len(found) - 1} earlier of its snapshots are there, too" * (len(found) > 1)
    return (
        f"{name}: {last['VolumeId']} is deleted, and {identity} is its last snapshot, {size} GiB, which costs "
        f"{at_most:.2f} USD a month at most (list price of {LISTED_REGION}) until "
        f"`aws ec2 delete-snapshot --snapshot-id {identity}`{others}"
    )


def _is_data_alone(resources: Collection[Mapping[str, Any]]) -> bool:
    """Whether a cluster on AWS has ended and its data is there."""
    types = {each["type"] for each in resources}
    return VOLUME in types and MACHINE not in types


def _exists(deployment: Deployment, volume: str) -> bool:
    filters = [{"Name": "volume-id", "Values": [volume]}]
    found = deployment.client("ec2").describe_volumes(Filters=filters)["Volumes"]
    return any(each["State"] not in ("deleting", "deleted") for each in found)


def _stop_backups(deployment: Deployment, loss: Loss) -> None:
    """Let nobody copy a volume any more that no cluster writes to. What was copied stays."""
    if loss.type == VOLUME:
        tags = [{"Key": BACKUPS_TAG}]
        deployment.client("ec2").delete_tags(Resources=[loss.identity], Tags=tags)


def tell_given_up(resources: Iterable[Mapping[str, Any]]) -> None:
    """Say which data a run gave up that was stopped before the end: the next one lets go of them without a word."""
    known = list(resources)
    present = _present(known)
    for each in known:
        if each.get("delete") and each["type"] in DATA and not _is_secret_env(each):
            name = each["urn"].rpartition("::")[2]
            now = present.get(each["urn"], {}).get("id", "nothing yet")
            say(
                f"{name}: a run that was stopped gave up {each.get('id')}, which has the data and which AWS keeps; the "
                f"cluster goes on with {now}, which has none of them (docs/how-to/change-a-cluster.md, Backups)"
            )


def unfinished(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of what a destruction should have ended: Pulumi ends well, too, where somebody has stopped it.

    What is protected stays, and what that depends on.
    """
    known = _present(resources)
    stays = set[str]()
    waiting = [urn for urn, each in known.items() if each.get("protect")]
    while waiting:
        urn = waiting.pop()
        if urn not in stays:
            stays.add(urn)
            waiting += known.get(urn, {}).get("dependencies", [])
    return [
        urn.rpartition("::")[2]
        for urn, each in known.items()
        if each.get("id") and urn not in stays and not each["type"].startswith("pulumi:")
    ]


def _is_secret_env(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is the secret that the stack file's `secretEnv` fills: nothing is lost with it."""
    return resource["type"] == SECRET and str(resource["urn"]).endswith(f"-{SECRET_ENV_NAME}")


def _present(resources: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """By URN, what a state has, without what a replacement that was stopped has yet to delete."""
    return {each["urn"]: each for each in resources if not each.get("delete")}


def protect_again(deployment: Deployment) -> None:
    """Protect data that a `./cluster purge` or an `up --name` left open when it was killed; does nothing otherwise.

    The state alone is changed. Without it `./cluster down`, which keeps data, would delete what is left of it.
    """
    bare = [
        each
        for each in deployment.checkpoint().get("resources", [])
        if each["type"] in KEPT
        and not (each.get("protect") or each.get("delete") or _is_secret_env(each))
    ]
    if not bare:
        return
    urns = [each["urn"] for each in bare]
    deployment.read("state", "protect", "--yes", *deployment.named(), *urns)
    names = [each["urn"].rpartition("::")[2] for each in bare if each["type"] in DATA]
    say(
        f"{', '.join(names) or 'what guards the data'} was not protected, as after an interrupted command; it is "
        f"protected again, as only `./cluster purge{deployment.choice}` deletes data"
    )


def _mark(deployment: Deployment, loss: Loss) -> None:
    """Tag what AWS keeps as given up, where recovery finds things by their tags and the preflight asks whose they are.

    What is still the cluster's afterwards loses the tag again, at the next refresh at the latest.
    """
    tag = {"Key": GIVEN_UP_TAG, "Value": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    if loss.type == VOLUME:
        deployment.client("ec2").create_tags(Resources=[loss.identity], Tags=[tag])
    elif loss.type == FILE_SYSTEM:
        deployment.client("efs").tag_resource(ResourceId=loss.identity, Tags=[tag])
    elif loss.type == SECRET:
        deployment.client("secretsmanager").tag_resource(SecretId=loss.identity, Tags=[tag])


def _unmark(deployment: Deployment, loss: Loss) -> None:
    keys = [GIVEN_UP_TAG]
    if loss.type == VOLUME:
        deployment.client("ec2").delete_tags(
            Resources=[loss.identity], Tags=[{"Key": GIVEN_UP_TAG}]
        )
    elif loss.type == FILE_SYSTEM:
        deployment.client("efs").untag_resource(ResourceId=loss.identity, TagKeys=keys)
    elif loss.type == SECRET:
        deployment.client("secretsmanager").untag_resource(SecretId=loss.identity, TagKeys=keys)


def _is_gone(loss: Loss, left: Mapping[str, Mapping[str, Any]]) -> bool:
    return loss.urn not in left or left[loss.urn].get("id") != loss.identity
