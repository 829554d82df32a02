"""The gRPC service that the Pulumi engine talks to: one server for all providers of all runs.

The engine opens a connection per configured provider, so the configuration belongs to the
connection: with one for all, the last region configured would win for everybody.
"""

# ruff: noqa: N802 - the protocol names the methods

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
)

from ..account import ACCOUNT
from . import checks, compare, moto_gaps, protocol, schema
from .aws import Aws, explained, is_missing, tag_map
from .protocol import (
    NO_CHANGE,
    Connection,
    answering,
    check_failures,
    configuration_diff,
    property_diff,
    settings_of,
    token_of,
    top,
    unfinished,
)
from .table import ResourceType
from .values import (
    UNKNOWN,
    Properties,
    RefusalError,
    contains_unknown,
    from_wire,
    secret,
    to_wire,
)

MOST_CALLS = 32
"""Calls that are answered at the same time."""


class AwsProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider `aws`, on the AWS API at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._configured: dict[str, Aws] = {}

    # The provider itself

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: Connection
    ) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, supports_autonaming_configuration=True
        )

    def Attach(self, request: plugin_pb2.PluginAttach, context: Connection) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Connection) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-aws"))

    def Cancel(self, request: empty_pb2.Empty, context: Connection) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    @answering
    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: Connection
    ) -> provider_pb2.CheckResponse:
        settings = settings_of(from_wire(request.news)[0])
        failures = check_failures(checks.configuration_problems(settings))
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    @answering
    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        return configuration_diff(request)

    @answering
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Connection
    ) -> provider_pb2.ConfigureResponse:
        settings = settings_of(from_wire(request.args)[0])
        for path, reason in checks.configuration_problems(settings):
            raise RefusalError(f"aws:{path} {reason}")
        allowed = settings.get("allowedAccountIds")
        if allowed and ACCOUNT not in allowed:
            raise RefusalError(
                f"aws:allowedAccountIds is {', '.join(allowed)} and the sandbox is {ACCOUNT}"
            )
        tags = (settings.get("defaultTags") or {}).get("tags", {})
        aws = Aws(self._endpoint, settings["region"], tags)
        moto_gaps.prepare_region(aws)
        self._configured[context.peer()] = aws
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @answering
    def Invoke(
        self, request: provider_pb2.InvokeRequest, context: Connection
    ) -> provider_pb2.InvokeResponse:
        arguments, _ = from_wire(request.args)
        if problems := checks.function_problems(request.tok, arguments):
            return provider_pb2.InvokeResponse(failures=check_failures(problems))
        if contains_unknown(arguments):
            raise RefusalError(f"{request.tok} has an argument that is not known yet")
        aws = self._aws(context, arguments)
        signature = schema.function(request.tok)
        function = checks.function(request.tok)
        answer = function.answer(aws, arguments)
        found = schema.conformed_object({**arguments, **answer}, signature.outputs)
        if "region" in signature.outputs:
            found["region"] = aws.region
        if function.secret:
            found[function.secret] = secret(found[function.secret])
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(to_wire(found, []))  # a keyword in Python
        return response

    # Resources

    @answering
    def Check(
        self, request: provider_pb2.CheckRequest, context: Connection
    ) -> provider_pb2.CheckResponse:
        token = token_of(request)
        row = checks.resource_type(token)
        (news, _), (olds, _) = from_wire(request.news), from_wire(request.olds)
        added = checks.named(row, request, news, olds)
        problems = checks.resource_problems(token, {**news, **added})
        inputs = request.news
        inputs.update(added)
        return provider_pb2.CheckResponse(inputs=inputs, failures=check_failures(problems))

    @answering
    def Diff(
        self, request: provider_pb2.DiffRequest, context: Connection
    ) -> provider_pb2.DiffResponse:
        row = checks.resource_type(token_of(request))
        (old, _), (new, _) = from_wire(request.old_inputs), from_wire(request.news)
        (outputs, _) = from_wire(request.olds)
        changes = compare.changed_paths(row, old, new)
        aws = self._aws(context, new)
        if outputs.get("region", aws.region) != aws.region:
            changes["region"] = "update"
        tags_differ = "tagsAll" in outputs and outputs["tagsAll"] != _all_tags(aws, new)
        if tags_differ and not any(path.startswith("tags") for path in changes):
            changes["tagsAll"] = "update"
        replacing = {
            path for path in changes if path == "region" or compare.replaces(row, path, new)
        }
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changes else NO_CHANGE,
            diffs=sorted({top(path) for path in changes}),
            replaces=sorted({top(path) for path in replacing}),
            detailedDiff={
                path: property_diff(path, kind, replacing=path in replacing)
                for path, kind in changes.items()
            },
            hasDetailedDiff=True,
            deleteBeforeReplace=bool(replacing) and _must_delete_first(row, old, new),
        )

    @answering
    def Create(
        self, request: provider_pb2.CreateRequest, context: Connection
    ) -> provider_pb2.CreateResponse:
        token = token_of(request)
        row, signature = checks.resource_type(token), schema.resource(token)
        inputs, secrets = from_wire(request.properties)
        if request.preview:
            unknown = dict.fromkeys(signature.outputs, UNKNOWN)
            known = {**unknown, **row.defaults, **inputs}
            return provider_pb2.CreateResponse(properties=to_wire(known, secrets))
        aws = self._aws(context, inputs)
        asked = {**row.defaults, **_without_bookkeeping(inputs)}
        identifier = row.create(aws, row.at_creation(asked))
        try:
            _finish_creation(row, aws, identifier, asked)
            live = _live(row, signature, aws, identifier, inputs)
        except (ClientError, BotoCoreError, RefusalError) as error:
            reason = explained(error) if isinstance(error, ClientError) else str(error)
            raise unfinished(identifier, request, reason) from error
        if live is None:
            raise RefusalError(f"{identifier} was created and is gone: look at it and refresh")
        state = compare.state(token, row, signature, inputs, live)
        return provider_pb2.CreateResponse(id=identifier, properties=to_wire(state, secrets))

    @answering
    def Read(
        self, request: provider_pb2.ReadRequest, context: Connection
    ) -> provider_pb2.ReadResponse:
        token = token_of(request)
        row, signature = checks.resource_type(token), schema.resource(token)
        inputs, secrets = from_wire(request.inputs)
        properties, more_secrets = from_wire(request.properties)
        region = service_region(inputs, properties)
        aws = self._aws(context, {"region": region} if region else {})
        live = _live(row, signature, aws, request.id, inputs)
        if live is None:
            return provider_pb2.ReadResponse()
        found = compare.refreshed_inputs(token, row, inputs, live)
        state = compare.state(token, row, signature, found, live)
        sealed = [*secrets, *more_secrets]
        return provider_pb2.ReadResponse(
            id=request.id, inputs=to_wire(found, sealed), properties=to_wire(state, sealed)
        )

    @answering
    def Update(
        self, request: provider_pb2.UpdateRequest, context: Connection
    ) -> provider_pb2.UpdateResponse:
        token = token_of(request)
        row, signature = checks.resource_type(token), schema.resource(token)
        (old, _), (new, secrets) = from_wire(request.old_inputs), from_wire(request.news)
        outputs, _ = from_wire(request.olds)
        if request.preview:
            unknown = dict.fromkeys(row.recomputed.split(), UNKNOWN)
            gone = row.modelled - new.keys()
            kept = {name: value for name, value in outputs.items() if name not in gone}
            known = {**kept, **row.defaults, **new, **unknown}
            if "tagsAll" in outputs:
                known["tagsAll"] = _all_tags(self._aws(context, new), new)
            return provider_pb2.UpdateResponse(properties=to_wire(known, secrets))
        aws = self._aws(context, new)
        changed = {top(path) for path in compare.changed_paths(row, old, new)}
        asked = {**row.defaults, **_without_bookkeeping(new)}
        for names, update in row.updates.items():
            if changed & set(names.split()):
                update(aws, request.id, asked)
        _set_tags(row, aws, request.id, asked, outputs.get("tagsAll", {}))
        live = _live(row, signature, aws, request.id, new)
        if live is None:
            raise RefusalError(f"{request.id} is gone: run pulumi refresh, then the command again")
        state = compare.state(token, row, signature, new, live)
        return provider_pb2.UpdateResponse(properties=to_wire(state, secrets))

    @answering
    def Delete(self, request: provider_pb2.DeleteRequest, context: Connection) -> empty_pb2.Empty:
        row = checks.resource_type(token_of(request))
        inputs, _ = from_wire(request.old_inputs)
        properties, _ = from_wire(request.properties)
        asked = {**row.defaults, **properties, **inputs}
        region = service_region(inputs, properties)
        aws = self._aws(context, {"region": region} if region else {})
        try:
            row.delete(aws, request.id, asked)
        except ClientError as error:
            if not is_missing(error):
                raise
        return empty_pb2.Empty()

    def _aws(self, context: Connection, inputs: Mapping[str, Any]) -> Aws:
        aws = self._configured.get(context.peer())
        if aws is None:
            raise RefusalError("this connection has lost its configuration: run the command again")
        region = inputs.get("region")
        if not region or region == aws.region:
            return aws
        elsewhere = replace(aws, region=region)
        moto_gaps.prepare_region(elsewhere)
        return elsewhere


def serve(endpoint: str, port: int = 0) -> tuple[grpc.Server, int]:
    """A running server of the provider on the loopback, and its port."""
    unlimited = ("grpc.max_receive_message_length", -1)
    return protocol.serve(AwsProvider(endpoint), MOST_CALLS, port, (unlimited,))


def service_region(inputs: Properties, properties: Properties) -> str | None:
    """The region a resource is in, as far as its inputs or its state tell."""
    return inputs.get("region") or properties.get("region")


def _must_delete_first(row: ResourceType, old: Properties, new: Properties) -> bool:
    """Whether the replacement would meet the old one: by its nature, or by a name the user chose."""
    chosen = bool(row.name) and row.name not in new.get(compare.BOOKKEEPING, [])
    return row.replace_by_deleting or (chosen and old.get(row.name) == new.get(row.name))


def _without_bookkeeping(inputs: Properties) -> Properties:
    aside = {compare.BOOKKEEPING, "region"}
    return {name: value for name, value in inputs.items() if name not in aside}


def _all_tags(aws: Aws, inputs: Properties) -> dict[str, str]:
    tags = inputs.get("tags") or {}
    return {**aws.default_tags, **tags} if isinstance(tags, dict) else dict(aws.default_tags)


def _set_tags(
    row: ResourceType, aws: Aws, identifier: str, inputs: Properties, present: Mapping[str, str]
) -> None:
    if row.tagger is None:
        return
    wanted = _all_tags(aws, inputs)
    missing = {key: value for key, value in wanted.items() if present.get(key) != value}
    removed = sorted(present.keys() - wanted.keys())
    if missing or removed:
        row.tagger(aws, identifier, missing, removed)


def _finish_creation(row: ResourceType, aws: Aws, identifier: str, inputs: Properties) -> None:
    later = {*row.later.split(), *row.twice.split()} & inputs.keys()
    for names, update in row.updates.items():
        if later & set(names.split()):
            update(aws, identifier, inputs)
    _set_tags(row, aws, identifier, inputs, {})


def _live(
    row: ResourceType,
    signature: schema.Signature,
    aws: Aws,
    identifier: str,
    inputs: Properties,
) -> Properties | None:
    """What AWS says of a resource, in the SDK's names; None when it does not exist."""
    try:
        item = row.read(aws, identifier, inputs)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    if item is None:
        return None
    found: dict[str, Any] = {"region": aws.region, **item}
    if row.arn:
        service, _, resource = row.arn.partition(":")
        found["arn"] = aws.arn(service, resource.format(id=identifier))
    if row.tagger:
        tags = tag_map(item.get("tags", item.get("Tags")))
        asked = inputs.get("tags", {})
        own = {
            key: value
            for key, value in tags.items()
            if key in asked or aws.default_tags.get(key) != value
        }
        found = {name: value for name, value in found.items() if name.lower() != "tags"}
        found |= {"tags": own, "tagsAll": tags}
    return {"id": identifier, **schema.conformed_object(found, signature.outputs)}
