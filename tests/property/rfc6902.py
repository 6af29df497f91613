"""A plain applier of JSON Patch (RFC 6902), as strict as the RFC: the judge of our patches."""

from __future__ import annotations

from typing import Any

from cytosol.model.json import copy_json


def pointer_tokens(pointer: str) -> list[str]:
    """Return the reference tokens of a JSON Pointer (RFC 6901)."""
    if pointer == "":
        return []
    assert pointer.startswith("/"), f"{pointer!r} is not a pointer"
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def apply_patch(document: Any, patch: list[dict[str, Any]]) -> Any:
    """Return the patched document; the one given stays as it is."""
    document = copy_json(document)
    for operation in patch:
        *way, last = pointer_tokens(operation["path"])
        parent = document
        for token in way:
            parent = parent[_index(token) if type(parent) is list else token]
        if operation["op"] == "remove":
            assert {"op", "path"} == operation.keys()
        else:
            assert {"op", "path", "value"} == operation.keys()
        if type(parent) is list:
            _apply_to_array(parent, _index(last), operation)
        else:
            _apply_to_object(parent, last, operation)
    return document


def _index(token: str) -> int:
    assert token.isascii()
    assert token.isdecimal()
    assert token == "0" or token[0] != "0"
    return int(token)


def _apply_to_array(array: list[Any], index: int, operation: dict[str, Any]) -> None:
    match operation["op"]:
        case "add":
            assert index <= len(array)
            array.insert(index, copy_json(operation["value"]))
        case "remove":
            assert index < len(array)
            del array[index]
        case "replace":
            assert index < len(array)
            array[index] = copy_json(operation["value"])
        case other:
            raise AssertionError(f"unknown operation {other!r}")


def _apply_to_object(members: dict[str, Any], key: str, operation: dict[str, Any]) -> None:
    assert type(members) is dict
    match operation["op"]:
        case "add":
            members[key] = copy_json(operation["value"])
        case "remove":
            del members[key]
        case "replace":
            assert key in members
            members[key] = copy_json(operation["value"])
        case other:
            raise AssertionError(f"unknown operation {other!r}")
