"""From pydantic's JSON schema to Kubernetes' structural schema: no references, no nulls, no titles."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from .v1alpha1 import schema_of

Schema = dict[str, Any]

STORED_DEFAULT = "x-stored-default"
_KEPT = (
    "type",
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
)


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a type."""
    source = schema_of(model)
    return _convert(source, source.get("$defs", {}))


def _convert(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = resolved(node, definitions)
    if node.get("x-kubernetes-int-or-string"):
        return {k: v for k, v in node.items() if k not in ("title", "default", "examples")}
    result: Schema = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        result |= {"type": "string", "enum": [node["const"]]}
    if node.get(STORED_DEFAULT):
        result["default"] = node["default"]
    if "properties" in node:
        result["properties"] = {name: _convert(child, definitions) for name, child in node["properties"].items()}
    if node.get("required"):
        result["required"] = sorted(node["required"])
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
    result |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    return result


def resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follow references and take the null out of a choice; what the field itself says wins over its type."""
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        own = {key: value for key, value in node.items() if key != "$ref"}
        return resolved({**target, **own}, definitions)
    if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"a structural schema cannot choose between {choices}")
        own = {key: value for key, value in node.items() if key != "anyOf"}
        return resolved({**resolved(choices[0], definitions), **own}, definitions)
    return node
