"""Machine images of the sandbox: behind public parameters, locked in stack files of a real account, deprecated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from model.settings.image import MARKETPLACE_OWNER, Image, LockedImage, marketplace_name
from model.settings.sections import Release
from operate.stack.rehearsed_images import rehearse_images
from sandbox.lifecycle import start, stop
from sandbox.provider.images import RELEASE_TAG, STAND_IN_IMAGES, identifier_of

LOCKED = "ami-0123456789abcdef0"
RELEASE = Release(version="2.50.1", cuda="12")
Clients = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def clients(directory: Path) -> Iterator[Clients]:
    endpoint = start(directory).aws_endpoint

    def client(service: str, region: str) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    yield client
    stop(directory)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
@pytest.mark.parametrize("parameter", list(STAND_IN_IMAGES))
def test_a_public_parameter_names_an_image_that_is_there_and_the_same_in_every_sandbox(
    clients: Clients, region: str, parameter: str
) -> None:
    named = clients("ssm", region).get_parameter(Name=parameter)["Parameter"]["Value"]
    assert named == identifier_of(parameter, region)
    (image,) = clients("ec2", region).describe_images(ImageIds=[named])["Images"]
    assert image["Name"] == STAND_IN_IMAGES[parameter]
    assert (image["Architecture"], image["State"]) == ("x86_64", "available")


def test_a_locked_image_of_a_real_account_has_a_stand_in_in_its_region(
    clients: Clients, directory: Path
) -> None:
    lock = {
        "us-east-1": LockedImage(id=LOCKED, name="locked"),
        "eu-west-1": LockedImage(id="ami-0123456789abcdef1"),
    }
    rehearse_images(directory, "us-east-1", Image(lock=lock), RELEASE, own=True)
    own = Image(id="ami-0123456789abcdef2", release="preinstalled")
    rehearse_images(directory, "us-east-1", own, RELEASE, own=True)
    ec2 = clients("ec2", "us-east-1")
    found = ec2.describe_images(ImageIds=[LOCKED, "ami-0123456789abcdef2"])["Images"]
    assert [each["Name"] for each in found] == ["locked", "an image of your own"]
    assert [released(each) for each in found] == ["", "2.50.1-12"]
    with pytest.raises(ec2.exceptions.ClientError, match=r"InvalidAMIID.NotFound"):
        ec2.describe_images(ImageIds=["ami-0123456789abcdef1"])


def test_an_image_of_ones_own_follows_the_release_of_the_stack_file(
    clients: Clients, directory: Path
) -> None:
    identifier, ec2 = "ami-0123456789abcdef3", clients("ec2", "us-east-1")
    seen = []
    for version, image in (
        ("2.50.1", Image(id=identifier, release="preinstalled")),
        ("2.51.3", Image(id=identifier, release="preinstalled")),
        ("2.51.3", Image(id=identifier)),
    ):
        release = RELEASE.model_copy(update={"version": version})
        rehearse_images(directory, "us-east-1", image, release, own=True)
        (found,) = ec2.describe_images(ImageIds=[identifier])["Images"]
        seen.append(released(found))
    assert seen == ["2.50.1-12", "2.51.3-12", ""]


def test_the_marketplace_sells_an_image_of_the_wanted_release(
    clients: Clients, directory: Path
) -> None:
    ec2 = clients("ec2", "us-east-1")
    wanted = {
        "Owners": [MARKETPLACE_OWNER],
        "Filters": [{"Name": "name", "Values": [marketplace_name(RELEASE)]}],
    }
    assert ec2.describe_images(**wanted)["Images"] == []
    rehearse_images(directory, "us-east-1", Image(marketplace=True), RELEASE, own=False)
    (image,) = ec2.describe_images(**wanted)["Images"]
    assert released(image) == "2.50.1-12"
    other = RELEASE.model_copy(update={"version": "2.51.3"})
    wanted["Filters"] = [{"Name": "name", "Values": [marketplace_name(other)]}]
    assert ec2.describe_images(**wanted)["Images"] == []


def released(image: dict[str, Any]) -> str:
    """The release that machines of an image come with."""
    tags = {each["Key"]: each["Value"] for each in image.get("Tags", [])}
    return str(tags.get(RELEASE_TAG, ""))


def test_a_deprecated_image_is_off_the_list_and_there_for_who_knows_its_id(
    clients: Clients,
) -> None:
    parameter, region = next(iter(STAND_IN_IMAGES)), "us-west-2"
    ec2 = clients("ec2", region)
    image = clients("ssm", region).get_parameter(Name=parameter)["Parameter"]["Value"]
    by_name = [{"Name": "image-id", "Values": [image]}]
    tomorrow, yesterday = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
    ec2.enable_image_deprecation(ImageId=image, DeprecateAt=tomorrow)
    assert ec2.describe_images(Filters=by_name)["Images"]
    ec2.enable_image_deprecation(ImageId=image, DeprecateAt=yesterday)
    assert not ec2.describe_images(Filters=by_name)["Images"]
    assert ec2.describe_images(Filters=by_name, IncludeDeprecated=True)["Images"]
    (found,) = ec2.describe_images(ImageIds=[image])["Images"]
    assert found["DeprecationTime"].startswith(f"{yesterday:%Y-%m-%d}")
