"""Property values between the engine's wire format and plain Python.

Unknown values stay the engine's own marker string, and assets stay their wire dictionaries, so that
what came in can go out again unchanged. Only secrets are opened: they are sealed again by value on
the way out, because a secret tag would otherwise leak through `tagsAll`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime import rpc

Properties = dict[str, Any]


class RefusalError(Exception):
    """What was asked cannot be done; the message is for the user and says what can."""


UNKNOWN = rpc.UNKNOWN
_SIGNATURE = rpc._special_sig_key
_SECRET = rpc._special_secret_sig
_ASSET = rpc._special_asset_sig
_OUTPUT = rpc._special_output_value_sig


def from_wire(struct: struct_pb2.Struct) -> tuple[Properties, list[Any]]:
    """The properties with their secrets opened, and the values that were secret."""
    secrets: list[Any] = []
    return _opened(json_format.MessageToDict(struct), secrets), secrets


def to_wire(properties: Mapping[str, Any], secrets: list[Any]) -> struct_pb2.Struct:
    """The wire form, in which every value equal to one of `secrets` is sealed."""
    struct = struct_pb2.Struct()
    sealed = {name: _sealed(value, secrets) for name, value in properties.items()}
    json_format.ParseDict(sealed, struct)
    return struct


def secret(value: Any) -> dict[str, Any]:
    """The wire form of one secret value."""
    return {_SIGNATURE: _SECRET, "value": value}


def is_asset(value: Any) -> bool:
    """Whether a plain value is a file or text asset."""
    return isinstance(value, dict) and value.get(_SIGNATURE) == _ASSET


def asset_content(asset: Mapping[str, Any]) -> bytes:
    """The bytes of an asset; OSError where its file cannot be read, RefusalError where it changed.

    A relative path counts from the working directory of the sandbox, which is the project's.
    """
    if "path" not in asset:
        return str(asset.get("text", "")).encode()
    content = Path(asset["path"]).read_bytes()
    if asset.get("hash") and hashlib.sha256(content).hexdigest() != asset["hash"]:
        raise RefusalError(
            f"{asset['path']} is not the file the program saw: run the command again"
        )
    return content


def contains_unknown(value: Any) -> bool:
    """Whether a value, or anything inside it, is not known yet."""
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def _opened(value: Any, secrets: list[Any]) -> Any:
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            plain = _opened(value.get("value"), secrets)
            secrets.append(plain)
            return plain
        if value.get(_SIGNATURE) == _OUTPUT:
            plain = _opened(value.get("value", UNKNOWN), secrets)
            if value.get("secret"):
                secrets.append(plain)
            return plain
        return {name: _opened(item, secrets) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_opened(item, secrets) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _sealed(value: Any, secrets: list[Any]) -> Any:
    # Booleans and empty values say nothing, and sealing them would hide every one of their kind.
    if not isinstance(value, bool) and value and value != UNKNOWN and value in secrets:
        return secret(value)
    if isinstance(value, dict):
        return {name: _sealed(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_sealed(item, secrets) for item in value]
    return value
