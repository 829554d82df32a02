"""Writes schemas/stack.schema.json, by which an editor completes and checks a stack file.

    python -m tools.generate_schema

The schema is made of the settings' models and of their attributes' docstrings; a test compares them. It is less
strict than `./cluster preview`, which also knows the rules between keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from model.gpu_catalogue import CATALOGUE
from model.settings.aws import JoinedSettings, Settings
from model.settings.hosts import HostsSettings, JoinedHostsSettings
from model.settings.stack_keys import DELETE_DATA, PRIVATE_KEY, PROJECT, REGION, REGION_NAME
from tools.docstrings import attribute_docstrings

FILE = Path(__file__).resolve().parents[1] / "schemas" / "stack.schema.json"

MODELS: tuple[type[BaseModel], ...] = (
    Settings,
    JoinedSettings,
    HostsSettings,
    JoinedHostsSettings,
)
ENCRYPTED = {
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}
"""A value as Pulumi writes it with `--secret`."""
PULUMIS = {
    "secretsprovider": "Who encrypts the secrets of this stack. Pulumi writes it.",
    "encryptionsalt": "Belongs to the passphrase of this stack. Pulumi writes it.",
    "encryptedkey": "The encrypted key of this stack. Pulumi writes it.",
}
"""Keys beside `config`."""
_REGION = {
    "type": "string",
    "pattern": f"^{REGION_NAME.pattern}$",
    "description": "The region of the cluster, such as us-east-1. Never changes.",
}
_DELETE = {
    "type": "string",
    "description": "The stack's name lifts the protection of its data; `./cluster purge` writes it.",
}
_NOT_REQUIRED = {"hostKey"}
"""Written by `./cluster host-keys`; a rehearsal needs none."""


class _Described(GenerateJsonSchema):
    """Pydantic's schema with the attributes' docstrings, and without what only pydantic needs."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        words = attribute_docstrings(model)
        for name, field in model.model_fields.items():
            made["properties"][field.alias]["description"] = words[name]
        if "instanceTypes" in made["properties"]:
            made["properties"]["instanceTypes"]["items"] = {"enum": sorted(CATALOGUE)}
        required = [each for each in made.pop("required", []) if each not in _NOT_REQUIRED]
        return {**made, **({"required": required} if required else {})}


def document() -> dict[str, Any]:
    """The schema, whole."""
    names, made = models_json_schema(
        [(model, "validation") for model in MODELS], by_alias=True, schema_generator=_Described
    )
    definitions = {name: _tidied(each) for name, each in made["$defs"].items()}
    kinds = {}
    for model in MODELS:
        reference = names[(model, "validation")]["$ref"].rpartition("/")[2]
        kinds[model.__name__] = _top(definitions.pop(reference), on_hosts="Hosts" in model.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack file of graphistry-cluster",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                **_if(
                    {"site": {"const": "hosts"}},
                    _joined(JoinedHostsSettings, HostsSettings),
                    _joined(JoinedSettings, Settings),
                ),
            },
            **{key: {"type": "string", "description": text} for key, text in PULUMIS.items()},
        },
        "required": ["config"],
        "additionalProperties": False,
        "$defs": {**kinds, **definitions},
    }


def _joined(joined: type[BaseModel], own: type[BaseModel]) -> dict[str, Any]:
    return _if({"leaderStack": {}}, _reference(joined), _reference(own))


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{model.__name__}"}


def _if(key: Mapping[str, Any], then: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    # An editor that follows if, then and else names the one wrong key; with oneOf it would say that no kind matches.
    properties = {f"{PROJECT}:{name}": each for name, each in key.items()}
    return {
        "if": {"properties": properties, "required": list(properties)},
        "then": then,
        "else": otherwise,
    }


def _top(made: dict[str, Any], *, on_hosts: bool) -> dict[str, Any]:
    """The keys of a kind of stack as its file has them: with their namespace, and with secrets encrypted."""
    properties = {f"{PROJECT}:{key}": value for key, value in made["properties"].items()}
    if on_hosts:
        place = f"{PROJECT}:{PRIVATE_KEY}"
        properties[place] = {**ENCRYPTED, "description": properties[place]["description"]}
    return {
        **made,
        "properties": {REGION: _REGION, **properties, f"{PROJECT}:{DELETE_DATA}": _DELETE},
        "patternProperties": {"^pulumi:": {}},
        "required": [
            *([] if on_hosts else [REGION]),
            *(f"{PROJECT}:{key}" for key in made.get("required", [])),
        ],
    }


def _tidied(made: Any) -> Any:
    """A part of pydantic's schema in the words of a stack file, which has no nulls and plain secrets nowhere."""
    if isinstance(made, list):
        return [_tidied(each) for each in made]
    if not isinstance(made, dict):
        return made
    if made.get("format") == "password":
        return ENCRYPTED
    found = dict(_parts(made))
    if (
        "patternProperties" in found
    ):  # names of followers and the like: nothing else may stand there
        found.setdefault("additionalProperties", False)
    return found


def _parts(made: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in made.items():
        if key == "anyOf" and {"type": "null"} in value:
            (other,) = [each for each in value if each != {"type": "null"}]
            yield from _tidied(other).items()
        elif key == "patternProperties":
            yield from _named(value)
        elif key == "pattern" and _is_of_rust(value):
            continue
        elif key not in ("title", "default") or (key == "default" and value is not None):
            yield key, _tidied(value)


def _named(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    ((pattern, inner),) = value.items()
    if _is_of_rust(pattern):
        yield "additionalProperties", _tidied(inner)
    else:
        yield "patternProperties", {pattern: _tidied(inner)}


def _is_of_rust(pattern: str) -> bool:
    """Whether a pattern has classes of Unicode, which many readers of JSON Schema do not know."""
    return r"\p{" in pattern


def text() -> str:
    """The file, whole."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text())
