"""What moto does not know of machine images: stand-ins for those of a real account, and deprecation.

A file describes images of a real account that stack files name, as region to id to description, so that such a stack
can be rehearsed. Machines of an image have the release that its description says, as a tag, and else none.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.core.parse import default_timestamp_parser
from moto.core.responses import ActionResult
from moto.ec2 import ec2_backends
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.responses.amis import AmisResponse
from moto.ssm import ssm_backends
from moto.ssm.models import Parameter, SimpleSystemManagerBackend

from model.settings.image import REHEARSED

from ..account import ACCOUNT
from ..release.build import Release

OWNER = "898082745236"
"""Account of AWS that publishes the Deep Learning AMIs."""

RELEASE_TAG = "graphistry-sandbox:release"
"""Tag of an image with the release that machines of it come with, as ``2.50.1-12``."""

STAND_IN_IMAGES: Mapping[str, str] = {
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id": (
        "stand-in for the Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04)"
    ),
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id": (
        "stand-in for the Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04)"
    ),
    "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id": (
        "stand-in for Canonical Ubuntu 22.04"
    ),
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": (
        "stand-in for Canonical Ubuntu 24.04"
    ),
}
"""Public parameters that AWS publishes and moto lacks, and the name of the image each one gets."""


def mend(file: Path) -> None:
    """Let EC2 have the images that *file* names, and take old ones off the list; call it once, before moto serves."""
    describe = AmiBackend.describe_images
    answer = AmisResponse.describe_images

    @functools.wraps(describe)
    def describe_with_locked(backend: Any, *arguments: Any, **named: Any) -> Any:
        for identifier, image in described(file).get(backend.region_name, {}).items():
            if identifier not in backend.deleted_amis:
                add(backend, identifier, **image)
        return describe(backend, *arguments, **named)

    def answer_without_deprecated(request: Any) -> ActionResult:
        """Whoever names an image by its id, or owns it, is shown it all the same."""
        result: ActionResult = answer(request)
        if not request._get_param("ImageIds", []) and not request._get_bool_param(
            "IncludeDeprecated"
        ):
            images = result.result["Images"]
            own = request.ec2_backend.account_id
            result.result["Images"] = [
                each for each in images if each.owner_id == own or not _is_deprecated(each)
            ]
        return result

    get_parameter = SimpleSystemManagerBackend.get_parameter

    @functools.wraps(get_parameter)
    def get_published_parameter(backend: Any, *arguments: Any, **named: Any) -> Any:
        publish(backend.region_name)
        return get_parameter(backend, *arguments, **named)

    SimpleSystemManagerBackend.get_parameter = get_published_parameter
    AmiBackend.describe_images = describe_with_locked
    AmisResponse.describe_images = answer_without_deprecated
    AmisResponse.enable_image_deprecation = _deprecate


def publish(region: str) -> None:
    """Register the stand-in images in a region and publish their ids, once. Whoever calls it has moto's memory."""
    parameters = ssm_backends[ACCOUNT][region]._parameters
    for parameter, name in STAND_IN_IMAGES.items():
        if parameters[parameter]:
            continue
        identifier = identifier_of(parameter, region)
        add(ec2_backends[ACCOUNT][region], identifier, name=name)
        parameters[parameter].append(
            Parameter(
                account_id=ACCOUNT,
                name=parameter,
                value=identifier,
                parameter_type="String",
                description=name,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=datetime.now(UTC),
                version=1,
                data_type="aws:ec2:image",
            )
        )


def add(backend: Any, identifier: str, *, name: str, owner: str = OWNER, release: str = "") -> None:
    """Put a stand-in image into moto's memory, as AWS shows one of its own; or change one that is there.

    What is there without being a stand-in of *owner* stays as it is.
    """
    present = backend.amis.get(identifier)
    if present is not None and (present.description, present.owner_id) != (REHEARSED, owner):
        return
    if present is not None and release_of(backend, identifier) == Release.named(release):
        return
    backend.amis[identifier] = Ami(
        backend,
        identifier,
        name=name,
        description=REHEARSED,
        owner_id=owner,
        owner_alias="amazon" if owner == OWNER else None,
        public=True,
        virtualization_type="hvm",
        architecture="x86_64",
        root_device_type="ebs",
        root_device_name="/dev/sda1",
    )
    if release or present is not None:  # tags are kept by the id, and outlive the image
        backend.amis[identifier].add_tags({RELEASE_TAG: release})


def release_of(backend: Any, identifier: str) -> Release | None:
    """The release that machines of an image come with."""
    image = backend.amis.get(identifier)
    tags = {tag["key"]: tag["value"] for tag in image.get_tags()} if image else {}
    return Release.named(tags.get(RELEASE_TAG, ""))


def identifier_of(parameter: str, region: str) -> str:
    """The id of the image behind a public parameter: the same in every sandbox, so that a lock outlives one."""
    return f"ami-{hashlib.sha256(f'{region} {parameter}'.encode()).hexdigest()[:17]}"


def described(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Region to id to name, owner and release of the images that stack files name."""
    try:
        found: dict[str, dict[str, dict[str, str]]] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return found


def _deprecate(request: Any) -> ActionResult:
    """EnableImageDeprecation, for a day in the past as well: a test cannot wait."""
    (image,) = request.ec2_backend.describe_images(ami_ids=[request._get_param("ImageId")])
    at = request._get_param("DeprecateAt")
    image.deprecation_time = (
        (at if isinstance(at, datetime) else default_timestamp_parser(at))
        .astimezone(UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.000Z")
    )
    return ActionResult({"Return": True})


def _is_deprecated(image: Any) -> bool:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return bool(getattr(image, "deprecation_time", now) < now)
