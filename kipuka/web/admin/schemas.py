"""The shapes of what the admin API answers, in JSON Schema (OpenAPI 3.1 uses its draft 2020-12)."""

from __future__ import annotations

from typing import Any

from kipuka.enrollment.ledger.records import State
from kipuka.web.admin.backend import STATUSES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SERIAL: Schema = {"type": "string", "pattern": "^0x[0-9a-f]+$"}
_ID: Schema = {"type": "integer", "minimum": 1}
_STATUS = (
    "By kipuka's own records; no CA is asked. Of certificates of a file CA it is what the CA goes by, revoked also "
    "while they are on hold. Of those of a Dogtag, which keeps that record itself, it is always unknown, whoever "
    "revoked them."
)


def _or_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _whole(properties: dict[str, Schema]) -> Schema:
    """An object that has all of these and nothing else."""
    return {
        "type": "object",
        "required": sorted(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _open(properties: dict[str, Schema], *required: str) -> Schema:
    """An object that may have more: what a CA says, or what a later release adds."""
    return {"type": "object", "required": sorted(required), "properties": properties}


def _page(schema: Schema) -> Schema:
    return _whole({"items": {"type": "array", "items": schema}, "next": _or_null(_TEXT)})


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_CERTIFICATE: dict[str, Schema] = {
    "serial": _SERIAL,
    "ca_id": _TEXT,
    "subject": _or_null(_TEXT),
    "issuer": _or_null(_TEXT),
    "not_before": _TIME,
    "not_after": _TIME,
    "sha256": _HASH,
    "enrollment": _ID,
    "caller": _TEXT,
    "label": _or_null(_TEXT),
    "delivered": _or_null(_TIME),
    "status": {"type": "string", "enum": list(STATUSES), "description": _STATUS},
    "revoked": _or_null(_TIME),
    "revocation_reason": _or_null(_TEXT),
}

SCHEMAS: dict[str, Schema] = {
    "Error": _whole({"error": _TEXT, "message": _TEXT}),
    "Enrollment": _whole(
        {
            "id": _ID,
            "state": {"type": "string", "enum": [state.value for state in State]},
            "caller": _TEXT,
            "operation": _TEXT,
            "label": _or_null(_TEXT),
            "ca_id": _TEXT,
            "profile": _or_null(_TEXT),
            "subject": _TEXT,
            "public_key": _HASH,
            "request_id": _or_null(_TEXT),
            "serial": _or_null(_SERIAL),
            "reason": _or_null(_TEXT),
            "created": _TIME,
            "submitted": _or_null(_TIME),
            "delivered": _or_null(_TIME),
            "updated": _TIME,
        }
    ),
    "Enrollments": _page(_reference("Enrollment")),
    "ListedCertificate": _whole(_CERTIFICATE),
    "Certificate": _whole(_CERTIFICATE | {"pem": _TEXT}),
    "Certificates": _page(_reference("ListedCertificate")),
    "Authority": _open(
        {
            "id": _TEXT,
            "type": {"type": "string", "enum": ["file", "dogtag", "hsm"]},
            "display_name": _TEXT,
            "default": {"type": "boolean"},
            "labels": {"type": "array", "items": _TEXT},
            "profile": _or_null(_TEXT),
            "url": _or_null(_TEXT),
            "health": {"type": ["object", "null"]},
        },
        "id",
        "type",
        "display_name",
        "default",
        "labels",
        "profile",
        "url",
        "health",
    ),
    "Group": _open(
        {
            "name": _TEXT,
            "members": {"type": "array", "items": _TEXT},
            "load_balancing": _TEXT,
            "default": {"type": "boolean"},
            "labels": {"type": "array", "items": _TEXT},
        },
        "name",
        "members",
        "load_balancing",
        "default",
        "labels",
    ),
    "Authorities": _whole(
        {
            "items": {"type": "array", "items": _reference("Authority")},
            "groups": {"type": "array", "items": _reference("Group")},
        }
    ),
    "Record": _open({"id": _ID, "event": _TEXT, "time": _TIME}, "id", "event"),
    "Records": _page(_reference("Record")),
    "Revocation": _open(
        {
            "serial": _SERIAL,
            "ca_id": _TEXT,
            "outcome": _TEXT,
            "subject": _TEXT,
            "reason": _or_null(_TEXT),
            "since": _or_null(_TIME),
            "said": _or_null(_TEXT),
        },
        "serial",
        "ca_id",
        "outcome",
    ),
    "Description": {"type": "object"},
}
