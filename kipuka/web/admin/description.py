"""The OpenAPI 3.1 description of the admin API, made from its routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kipuka import __version__
from kipuka.access.credentials.tokens import Scope
from kipuka.web.admin.parameters import Parameter, Schema
from kipuka.web.admin.routing import Route
from kipuka.web.admin.schemas import SCHEMAS
from kipuka.web.http.json_answers import MEDIA_TYPE

_MEANING = {
    400: "The request cannot be read; the message names what is wrong.",
    401: "No administrator has shown that they are calling.",
    403: "The token lacks the scope, or a browser sent a change for a page of another site.",
    404: "There is no such thing.",
    408: "The request took too long to arrive.",
    409: "It does not fit the state things are in, or several are meant; the message names them.",
    413: "The body is too large.",
    415: "The body is not JSON, or is encoded.",
    429: "Too many wrong tokens came from this address.",
    500: "A fault of kipuka's; the log has the reference.",
    501: "It is not offered here.",
    502: "The CA answered with something else, or does not accept kipuka.",
    503: "It cannot be done at the moment; Retry-After says when to ask again.",
    504: "The CA did not answer: look before asking again.",
}
_NOTHING: Mapping[str, Sequence[str]] = {}
_OF_ALL = (400, 408, 413, 415, 500)
_OF_ADMINISTRATORS = (401, 403, 429, 503)


def describe(routes: Iterable[Route], words: Mapping[str, Sequence[str]] = _NOTHING) -> dict[str, Any]:
    """Describe these routes.

    :param words: for parameters and members of a body that take one of some words which only the server at hand knows:
        the words, by the name of the parameter or member.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, words)
    return {
        "openapi": "3.1.0",
        "info": {"title": "kipuka admin API", "version": __version__},
        "security": [{"token": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of kipuka token add."},
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A client certificate that admin.trust_anchors and admin.subjects let in.",
                },
            },
        },
    }


def _operation(route: Route, words: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    needs = f"Takes the scope {route.access.value}." if isinstance(route.access, Scope) else "Anybody may call this."
    errors = {*_OF_ALL, *route.errors, *(_OF_ADMINISTRATORS if isinstance(route.access, Scope) else ())}
    described: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": needs,
        "responses": {
            "200": {"description": "Done.", "content": _json({"$ref": f"#/components/schemas/{route.result}"})},
            **{str(status): _error(status) for status in sorted(errors)},
        },
    }
    if not isinstance(route.access, Scope):
        described["security"] = []
    found = [
        *(_parameter(each, "path", words) for each in route.within),
        *(_parameter(each, "query", words) for each in route.query),
    ]
    if found:
        described["parameters"] = found
    if route.body is not None:
        members = {name: _with(words.get(name), schema) for name, schema in route.body["properties"].items()}
        described["requestBody"] = {"required": True, "content": _json({**route.body, "properties": members})}
    return described


def _operation_id(route: Route) -> str:
    words = [word.strip("{}").partition(".")[0] for word in route.path.split("/")[2:]]
    return "_".join([route.method.lower(), *words])


def _parameter(parameter: Parameter, place: str, words: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "description": parameter.description,
        "schema": _with(words.get(parameter.name), parameter.schema),
    }


def _with(words: Sequence[str] | None, schema: Schema) -> Schema:
    return schema if words is None else {**schema, "enum": list(words)}


def _error(status: int) -> dict[str, Any]:
    return {"description": _MEANING[status], "content": _json({"$ref": "#/components/schemas/Error"})}


def _json(schema: Any) -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": schema}}
