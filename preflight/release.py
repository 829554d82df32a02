"""The check ``release``: whether nodes can have the release, from their image or from where the stack file says."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from model.problems import Problem
from model.settings.aws import JoinedSettings
from model.settings.sections import Release
from preflight.archive_at import Archive, UnavailableError, in_s3, on_the_web
from preflight.archive_policies import bucket_policy, key_policy
from preflight.situation import Finding, Remark, Situation, UnansweredError, account_id

UNPACKED = 3
"""Disk that a release takes, as a multiple of its archive (the vendor's hardware planning: 10 to 20 GB, "allow 3x").
Two take twice that while Docker unpacks the second: 2 for the images of the first, 4 for a `docker load` (measured)."""

RELEASES = 2
"""On a node's disks at once: the next one is brought, and its images loaded, while the present one serves."""

NEXT_LINE = "\n" + 9 * " "
"""Of a hint, below its first one."""

SYSTEM_GIB = 40
"""What the machine image takes of the root disk: driver, CUDA, Docker. Our estimate for the Deep Learning AMI."""


def release(situation: Situation) -> tuple[Finding, ...]:
    """Problems of the release: no node would find it, or it is unreadable, of another version, or too big for a disk.

    Four calls of AWS, or three requests of HTTPS, at most. It remarks what the owner of a bucket or key has to permit.
    Raises :class:`UnansweredError` where the answer is not to be had.
    """
    wanted = situation.release
    if wanted is None:
        raise UnansweredError("the release is that of the leader's stack, which is not deployed")
    if wanted.source == "preinstalled":
        return tuple(_preinstalled(situation))
    try:
        archive = _archive(situation, wanted)
    except UnavailableError as why:
        found: list[Finding] = [_unavailable(situation, wanted, why)]
        if why.may_be_foreign:
            policy = bucket_policy(situation, wanted.source, account_id(situation))
            found.append(Remark("the owner of a bucket of another account permits it", policy))
        return tuple(found)
    return (
        *_other_content(situation, wanted, archive),
        *_permissions(situation, wanted, archive),
        *_disks(situation, archive),
    )


def publish_command(situation: Situation) -> str:
    """The command that stores an archive for the release, which a joined stack has from its leader's."""
    return f"./cluster publish{_owners_choice(situation)} FILE"


def _owners_choice(situation: Situation) -> str:
    settings = situation.settings
    if not isinstance(settings, JoinedSettings):
        return situation.choice
    leader = settings.leader_stack.rpartition("/")[2]
    return situation.choice.replace(f" {situation.stack}", f" {leader}", 1)


def _preinstalled(situation: Situation) -> Iterator[Problem]:
    image = situation.settings.image
    if image.has_release(situation.region):
        return
    which = image.pinned(situation.region) or "the image of image.ssmParameter"
    joined = isinstance(situation.settings, JoinedSettings)
    then = f", then `./cluster up{_owners_choice(situation)}`" if joined else ""
    ways = [
        "one of three:",
        f"- `{publish_command(situation)}`{then}: checks and stores the vendor's archive, for the nodes to fetch",
        "- `image.marketplace: true`: Graphistry's image, once the account has subscribed to it in the AWS Marketplace",
        "- `image.release: preinstalled`: for an image of your own (id, lock or ssmParameter) that has it unpacked",
        *_stand_in(situation),
    ]
    yield Problem(
        "release.source",
        f"preinstalled{' in the stack of the leader' if joined else ''}, and {which} has no Graphistry in it as far as "
        "this file says",
        "an archive of Graphistry, or an image with Graphistry in it",
        NEXT_LINE.join(ways),
    )


def _stand_in(situation: Situation) -> list[str]:
    """How to get an archive for a rehearsal."""
    if not situation.is_rehearsal:
        return []
    command = f"./cluster stand-in {_owners_choice(situation).split()[0]} FILE"
    return [f"To rehearse, FILE may be a stand-in: `{command}`"]


def _archive(situation: Situation, wanted: Release) -> Archive:
    if wanted.source.startswith("s3://"):
        return in_s3(situation.client("s3"), wanted.source, lambda: account_id(situation))
    if situation.is_rehearsal:
        raise UnavailableError("the machines of the sandbox reach nothing outside of it")
    return on_the_web(wanted.source)


def _unavailable(situation: Situation, wanted: Release, why: UnavailableError) -> Problem:
    stores = (
        f"`{publish_command(situation)}` stores the vendor's archive in a bucket of this account"
    )
    return Problem(
        "release.source",
        f"{wanted.source}: {why}",
        "an archive that is there, and that you and the nodes may read",
        NEXT_LINE.join([stores, *_stand_in(situation)]),
    )


def _other_content(situation: Situation, wanted: Release, archive: Archive) -> Iterator[Problem]:
    """What `publish` has noted of an archive, against the stack file; of others nothing is known before boot."""
    asked = {"version": wanted.version, "cuda": wanted.cuda, "sha256": wanted.sha256}
    for key, value in asked.items():
        noted = archive.noted.get(key)
        if noted is not None and noted != value:
            yield Problem(
                f"release.{key}",
                f"{value}, and the archive of release.source has {noted}",
                noted,
                f"write it so, or `{publish_command(situation)}` with another archive",
            )


def _permissions(
    situation: Situation, wanted: Release, archive: Archive
) -> Iterator[Problem | Remark]:
    if archive.foreign:
        yield Remark(
            "the bucket is another account's: whether the nodes may read it, its owner knows, who adds to its policy "
            "what is below",
            bucket_policy(situation, wanted.source, account_id(situation)),
        )
    if archive.key is None:
        return
    account = account_id(situation)
    if archive.key.split(":")[4] != account:
        yield Problem(
            "release.source",
            f"{wanted.source} is encrypted with {archive.key}, a key of another account",
            "a key of this account, or S3's own encryption: the nodes' roles name no foreign key",
            f"`{publish_command(situation)}` stores the archive in a bucket of this account",
        )
    elif not _is_of_aws(situation, archive.key):
        yield Remark(
            f"the archive is encrypted with {archive.key}: its policy must permit the nodes to decrypt, as below",
            key_policy(situation, account, archive.key.split(":")[3]),
        )


def _is_of_aws(situation: Situation, key: str) -> bool:
    """Whether a key is S3's own of the account, which every role of the account may use by S3."""
    region = key.split(":")[3]
    if region != situation.region:
        return False  # a client of another region is not asked; the policy is shown in any case
    try:
        described = situation.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    except ClientError:
        return False  # whoever may not ask is shown the policy too
    return bool(described["KeyManager"] == "AWS")


def _disks(situation: Situation, archive: Archive) -> Iterator[Problem]:
    if archive.size is None:
        return
    size = archive.size / 2**30
    needed = int(SYSTEM_GIB + RELEASES * UNPACKED * size) + 1
    settings = situation.settings
    used = [settings.profile_of(node) for node in settings.node_names]
    for name, profile in settings.gpu_profiles.items():
        is_used = any(profile is each for each in used)
        if not is_used or profile.root_volume_gib >= needed:
            continue
        yield Problem(
            f"gpuProfiles.{name}.rootVolumeGib",
            f"{profile.root_volume_gib} GiB for an archive of {size:.1f} GiB",
            f"{needed} and more: {UNPACKED} times the archive, again as much for the next release beside it, and "
            f"{SYSTEM_GIB} for the system",
            f"rootVolumeGib: {needed}",
        )
