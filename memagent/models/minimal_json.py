"""The smallest JSON that a schema accepts, for fakes that must answer in form."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from memagent.errors import InputError

_PLAIN: dict[str, Any] = {"null": None, "boolean": False}


def minimal_json(schema: type[BaseModel]) -> str:
    """JSON with the required fields of `schema` and, in each, the simplest value allowed.

    Raises `InputError` for a schema with rules beyond types, bounds, lengths, choices and references (a pattern, or a
    validator in Python): script the reply for such a schema instead.
    """
    whole = schema.model_json_schema()
    text = json.dumps(_value(whole, whole.get("$defs", {})))
    try:
        schema.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"the fake model cannot make up a `{schema.__name__}`; use a ScriptedModel for it") from error
    return text


def _value(node: dict[str, Any], known: dict[str, Any]) -> Any:
    if "$ref" in node:
        return _value(known[node["$ref"].rsplit("/", 1)[1]], known)
    for fixed in ("const", "default"):
        if fixed in node:
            return node[fixed]
    if "enum" in node:
        return node["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in node:
            return _value(node[choice][0], known)
    return _typed(node, known)


def _typed(node: dict[str, Any], known: dict[str, Any]) -> Any:
    kind = node.get("type")
    if kind == "object":
        fields = node.get("properties", {})
        return {name: _value(fields[name], known) for name in node.get("required", ())}
    if kind == "array":
        if "prefixItems" in node:
            return [_value(item, known) for item in node["prefixItems"]]
        return [_value(node.get("items", {}), known) for _ in range(node.get("minItems", 0))]
    if kind == "string":
        return "x" * int(node.get("minLength", 0))
    if kind in ("integer", "number"):
        return _number(node)
    return _PLAIN.get(str(kind))


def _number(node: dict[str, Any]) -> Any:
    low = node.get("minimum", node["exclusiveMinimum"] + 1 if "exclusiveMinimum" in node else None)
    high = node.get("maximum", node["exclusiveMaximum"] - 1 if "exclusiveMaximum" in node else None)
    if low is not None and low > 0:
        return low
    return high if high is not None and high < 0 else 0
