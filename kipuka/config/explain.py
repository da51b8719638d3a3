"""What pydantic found, said to an operator: the path as it stands in the file, and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic_core import ErrorDetails

from kipuka.config.faults import Fault, path_of
from kipuka.config.model import Config
from kipuka.config.model.ca import TYPES, type_of
from kipuka.config.model.fields import Section, found
from kipuka.config.relations import did_you_mean

Steps = tuple[str | int, ...]

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "model_type": "a table",
    "mapping_type": "a table",
    "union_tag_not_found": "a table",
}


def explain(error: ErrorDetails, data: dict[str, Any]) -> Fault:
    """Turn one of pydantic's errors into a fault.

    :param data: the TOML document that was validated.
    """
    steps = _steps(error["loc"])
    value, context = error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "value_error":  # raised by a validator of ours, whose text is meant for the operator
            text = str(context["error"])
        case "missing":
            text = _missing(steps, data)
        case "extra_forbidden":
            text = _unknown(steps, data)
        case "literal_error":
            text = f"expected {context['expected'].replace(chr(39), chr(34))}; found {found(value)}"
        case "union_tag_invalid":
            steps = (*steps, "type")
            known = " or ".join(f'"{name}"' for name in TYPES)
            text = f"expected {known}; found {found(type_of(value))}"
        case "tuple_type" if isinstance(value, dict):
            text = f"expected a list of tables, each under [[{path_of(steps)}]]; found a single table"
        case kind if kind in _EXPECTED:
            text = f"expected {_EXPECTED[kind]}, found {found(value)}"
        case "greater_than_equal":
            text = f"expected at least {context['ge']}, found {found(value)}"
        case "less_than_equal":
            text = f"expected at most {context['le']}, found {found(value)}"
        case "too_short":
            text = "at least one entry is needed"
        case _:
            text = f"this value cannot be used ({error['msg']})"
    return Fault(path_of(steps), text)


def _steps(location: Steps) -> Steps:
    """Take out the CA's type, which pydantic puts behind its position and which does not stand there in the file."""
    if location[:1] == ("ca",) and len(location) > 2 and location[2] in TYPES:
        return (*location[:2], *location[3:])
    return location


def _missing(steps: Steps, data: dict[str, Any]) -> str:
    if steps == ("ca",):
        return "at least one [[ca]] is needed"
    if len(steps) == 3 and steps[0] == "ca" and steps[2] != "id":
        entry = data["ca"][steps[1]]
        default = "" if "type" in entry else " (the default)"
        return f'this key is missing: a CA of type "{type_of(entry)}"{default} needs it'
    return "this key is missing and has no default"


def _unknown(steps: Steps, data: dict[str, Any]) -> str:
    *parents, key = steps
    word = str(key)
    if len(steps) == 3 and steps[0] == "ca":
        own = str(type_of(data["ca"][steps[1]]))
        owners = [f'"{name}"' for name, section in TYPES.items() if word in section.model_fields]
        if owners:
            return f'this key belongs to a CA of type {" or ".join(owners)}, and this one is of type "{own}"; remove it'
    section = _section(parents, data)
    return f'unknown key "{word}"; {did_you_mean(word, list(section.model_fields))}'


def _section(steps: list[str | int], data: dict[str, Any]) -> type[Section]:
    """Find the model of the table at the steps."""
    section: type[Section] = Config
    for position, step in enumerate(steps):
        if isinstance(step, str):
            inner = list(_sections(section.model_fields[step].annotation))
            # Only [[ca]] has a choice of models.
            section = inner[0] if len(inner) == 1 else TYPES[str(type_of(data["ca"][steps[position + 1]]))]
    return section


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)
