"""One provider's way to AWS: its region, its default tags, and calls that speak Pulumi's names.

Pulumi names a property `cidrBlock` where AWS says `CidrBlock`. botocore carries the shape of every
request, so the one is made from the other by name, and a property the request does not know is an
error here instead of a setting that is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import Shape

from ..account import ACCOUNT
from .api_values import checked
from .values import Properties, RefusalError

_creation = threading.Lock()


@dataclass(frozen=True)
class Aws:
    """AWS as one configured provider, in one region, sees it."""

    endpoint: str
    region: str
    default_tags: Mapping[str, str] = field(default_factory=dict)

    def call(self, operation: str, **arguments: Any) -> Any:
        """The response of an operation such as `ec2.describe_vpcs`, its arguments AWS's own."""
        service, method = operation.split(".")
        return getattr(_client(service, self.region, self.endpoint), method)(**arguments)

    def pages(self, operation: str, result: str, **arguments: Any) -> list[Any]:
        """All items under the key `result`, over all pages of an operation that lists."""
        service, method = operation.split(".")
        paginator = _client(service, self.region, self.endpoint).get_paginator(method)
        return [item for page in paginator.paginate(**arguments) for item in page.get(result, [])]

    def request(
        self,
        operation: str,
        properties: Mapping[str, Any],
        renamed: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Any:
        """Like `call`, with Pulumi properties as further arguments; RefusalError for an alien one.

        `renamed` gives the AWS name of the properties that AWS names differently.
        """
        return self.call(operation, **self.arguments(operation, properties, renamed), **arguments)

    def arguments(
        self,
        operation: str,
        properties: Mapping[str, Any],
        renamed: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Pulumi properties as the arguments of an operation."""
        names = {(renamed or {}).get(name, name): value for name, value in properties.items()}
        return dict(shaped(names, self._input_shape(operation), operation))

    def accepts(self, operation: str, property_name: str) -> bool:
        """Whether an operation has an argument of this name."""
        members = self._input_shape(operation).members
        return property_name.lower() in {member.lower() for member in members}

    def _input_shape(self, operation: str) -> Any:
        service, method = operation.split(".")
        client = _client(service, self.region, self.endpoint)
        model = client.meta.service_model
        return model.operation_model(client.meta.method_to_api_mapping[method]).input_shape

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"


def shaped(value: Any, shape: Shape, where: str) -> Any:
    """A Pulumi value in the names and types of a botocore shape; RefusalError for an alien name."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = {name.lower(): name for name in shape.members}
        alien = [name for name in value if name.lower() not in members]
        if alien:
            raise RefusalError(f"{where} has no argument {', '.join(alien)}")
        return {
            members[name.lower()]: shaped(item, shape.members[members[name.lower()]], where)
            for name, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, Mapping):
        # A map where AWS takes a list can only be tags.
        return tag_list(value)
    if shape.type_name == "list":
        return [shaped(item, shape.member, where) for item in value]
    if shape.type_name == "boolean" and isinstance(value, str):
        return value == "true"
    return value


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """A map of tags as most AWS services take it."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: list[Mapping[str, str]] | None) -> dict[str, str]:
    """AWS's list of tags as a map, without the ones AWS keeps for itself."""
    pairs = [(tag.get("Key", tag.get("TagKey", "")), tag) for tag in tags or []]
    return {
        key: tag.get("Value", tag.get("TagValue", ""))
        for key, tag in pairs
        if not key.startswith("aws:")
    }


def is_missing(error: ClientError) -> bool:
    """Whether AWS says that the object of a call does not exist."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    signs = ("NotFound", "NoSuch", "DoesNotExist", "InvalidDocument", "404")
    return any(sign in code for sign in signs)


def explained(error: ClientError) -> str:
    """An AWS error as one line: the operation, AWS's code, AWS's message."""
    details = error.response.get("Error", {})
    code, message = details.get("Code", "Unknown"), details.get("Message", "no message")
    return f"{error.operation_name}: {code}: {message}"


def service_properties(properties: Properties, *names: str) -> Properties:
    """The named properties among those given."""
    return {name: properties[name] for name in names if name in properties}


def _client(service: str, region: str, endpoint: str) -> BaseClient:
    with _creation:  # boto3's default session is not safe to create clients on from two threads
        return _created_client(service, region, endpoint)


@cache
def _created_client(service: str, region: str, endpoint: str) -> BaseClient:
    client = boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 - moto takes anything
        config=Config(
            retries={"total_max_attempts": 1},
            read_timeout=120,
            max_pool_connections=50,
            parameter_validation=True,
        ),
    )
    return checked(client)
