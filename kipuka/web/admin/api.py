"""The operations of the admin API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cryptography import x509
from twisted.web.resource import IResource

from kipuka.access.credentials.tokens import Scope
from kipuka.enrollment.ledger.records import Enrollment, Records, State
from kipuka.errors import Kind, RequestError
from kipuka.observe.audit.record import AuditEvent
from kipuka.web.admin import fields, parameters, views
from kipuka.web.admin.backend import AuditPages, Authorities, Revocation, Standings
from kipuka.web.admin.description import describe
from kipuka.web.admin.routing import ANYBODY, Call, Gate, Route, Routes
from kipuka.web.http import json_answers, session
from kipuka.web.http.answers import Answer

Row = TypeVar("Row")

_AUDIT, _REVOKE = "/admin/audit", "/admin/revoke"


class AdminApi:
    """The paths below ``/admin``.

    :param gate: lets administrators through.
    :param audit: None: the audit cannot be read here.
    :param revocation: None: nothing can be revoked here.
    """

    routes = Routes()
    app = routes.app

    def __init__(
        self,
        gate: Gate,
        records: Records,
        authorities: Authorities,
        standings: Standings,
        audit: AuditPages | None,
        revocation: Revocation | None,
    ) -> None:
        self.gate = gate
        self._records = records
        self._authorities = authorities
        self._standings = standings
        self._audit = audit
        self._revocation = revocation

    def resource(self) -> IResource:
        """The resource for a listener's root."""
        return self.app.resource()

    @routes.add(
        Route(
            "GET",
            "/admin/enrollments",
            Scope.READ,
            "List enrollments, newest first",
            "Enrollments",
            query=(fields.STATE, fields.CA, fields.LABEL, fields.CALLER, fields.SINCE, fields.LIMIT, fields.CURSOR),
        )
    )
    async def enrollments(self, call: Call) -> Answer:
        """The ledger."""
        filters = dict(call.query)
        states = filters.pop("state", None)
        limit, before = filters.pop("limit", parameters.USUAL_PAGE), filters.pop("cursor", None)
        rows = await self._records.page(
            before=before,
            limit=limit + 1,
            states=None if states is None else [State(each) for each in states],
            **filters,
        )
        return _page(rows, limit, views.enrollment, _number)

    @routes.add(
        Route(
            "GET",
            "/admin/enrollments/{id}",
            Scope.READ,
            "Show one enrollment",
            "Enrollment",
            within=(fields.ID,),
            errors=(404,),
        )
    )
    async def enrollment(self, _call: Call, number: int) -> Answer:
        """One row of the ledger."""
        return json_answers.answer(200, views.enrollment(await self._records.enrollment(number)))

    @routes.add(
        Route(
            "POST",
            "/admin/enrollments/{id}/abandon",
            Scope.REVOKE,
            "End an enrollment that is stuck; what the CA has of it stays there",
            "Enrollment",
            within=(fields.ID,),
            errors=(404, 409),
            event=AuditEvent.ADMIN,
        )
    )
    async def abandon(self, call: Call, number: int) -> Answer:
        """End a row of the ledger."""
        call.facts["enrollment"] = number
        row = await self._records.abandon(number, session.origin(call.request))
        call.facts |= {"ca": row.application.ca_id, "subject": row.application.subject}
        return json_answers.answer(200, views.enrollment(row))

    @routes.add(
        Route(
            "GET",
            "/admin/certs",
            Scope.READ,
            "List the certificates that the ledger knows, newest first",
            "Certificates",
            query=(
                fields.SERIAL,
                fields.SUBJECT,
                fields.CA,
                fields.LABEL,
                fields.CALLER,
                fields.SINCE,
                fields.LIMIT,
                fields.CURSOR,
            ),
        )
    )
    async def certificates(self, call: Call) -> Answer:
        """Certificates that were issued for rows of the ledger."""
        filters = dict(call.query)
        limit, before = filters.pop("limit", parameters.USUAL_PAGE), filters.pop("cursor", None)
        serial = filters.pop("serial", None)
        rows = await self._records.page(
            before=before,
            limit=limit + 1,
            certified=True,
            serial=None if serial is None else f"0x{serial:x}",
            **filters,
        )
        shown = await self._certificates(rows[:limit])
        return _page(rows, limit, lambda row: shown[row.id], _number)

    @routes.add(
        Route(
            "GET",
            "/admin/certs/{serial}",
            Scope.READ,
            "Show one certificate that the ledger knows",
            "Certificate",
            within=(fields.SERIAL,),
            query=(fields.CA,),
            errors=(404, 409),
        )
    )
    async def certificate(self, call: Call, serial: int) -> Answer:
        """A certificate of a row of the ledger."""
        row = await self._records.certified(serial, call.query.get("ca_id"))
        return json_answers.answer(200, (await self._certificates([row], whole=True))[row.id])

    async def _certificates(self, rows: Sequence[Enrollment], *, whole: bool = False) -> dict[int, dict[str, Any]]:
        """The certificates of rows that have one, by the rows' numbers."""
        found = [x509.load_der_x509_certificate(row.certificate or b"") for row in rows]
        standings = await self._standings.of(found)
        return {
            row.id: views.certificate(row, certificate, standing, whole=whole)
            for row, certificate, standing in zip(rows, found, standings, strict=True)
        }

    @routes.add(Route("GET", "/admin/ca", Scope.READ, "List the CAs and groups of CAs", "Authorities"))
    async def authorities(self, _call: Call) -> Answer:
        """The CAs of the configuration, and how they are."""
        cas, groups = self._authorities.describe()
        return json_answers.answer(200, {"items": list(cas), "groups": list(groups)})

    @routes.add(
        Route(
            "GET",
            _AUDIT,
            Scope.READ,
            "List records of the audit, newest first",
            "Records",
            query=(
                fields.EVENT,
                fields.CA,
                fields.LABEL,
                fields.WHO,
                fields.SINCE,
                fields.UNTIL,
                fields.LIMIT,
                fields.CURSOR,
            ),
            errors=(501,),
        )
    )
    async def audit(self, call: Call) -> Answer:
        """The audit."""
        if self._audit is None:
            raise RequestError(Kind.NOT_OFFERED, "The audit cannot be read here: read it in kipuka's log.")
        filters = dict(call.query)
        limit, before = filters.pop("limit", parameters.USUAL_PAGE), filters.pop("cursor", None)
        event = filters.get("event")
        if event is not None and event not in self._audit.events:
            known = ", ".join(self._audit.events)
            raise RequestError(Kind.MALFORMED, f'There is no event "{parameters.shown(event)}": known are {known}.')
        entries = await self._audit.page(before=before, limit=limit + 1, **filters)
        return _page(entries, limit, lambda entry: {"id": entry[0], **entry[1]}, lambda entry: entry[0])

    @routes.add(
        Route(
            "POST",
            _REVOKE,
            Scope.REVOKE,
            "Revoke a certificate, put it on hold, or release it",
            "Revocation",
            body=fields.REVOCATION,
            errors=(404, 409, 501, 502, 504),
            event=AuditEvent.REVOCATION,
        )
    )
    async def revoke(self, call: Call) -> Answer:
        """Withdraw a certificate."""
        if self._revocation is None:
            raise RequestError(Kind.NOT_OFFERED, "Nothing can be revoked here: ask the CA itself.")
        wanted = fields.revocation(call.json(), self._revocation.reasons)
        call.facts |= {"serial": f"0x{wanted.serial:x}", "ca": wanted.ca_id}
        call.facts["operation"] = f"{call.facts['operation']} {wanted.reason}"
        result = await self._revocation.revoke(wanted.serial, wanted.reason, wanted.ca_id, call.by)
        told = (("ca", "ca_id"), ("outcome", "outcome"), ("subject", "subject"))
        call.facts |= {name: result[key] for name, key in told if key in result}
        return json_answers.answer(200, dict(result))

    @routes.add(Route("GET", "/admin/openapi.json", ANYBODY, "Describe this API (OpenAPI 3.1)", "Description"))
    async def description(self, _call: Call) -> Answer:
        """The description of what is offered here; it holds nothing that is not public."""
        words: dict[str, Sequence[str]] = {}
        missing: set[str] = set()
        if self._audit is not None:
            words["event"] = self._audit.events
        else:
            missing.add(_AUDIT)
        if self._revocation is not None:
            words["reason"] = self._revocation.reasons
        else:
            missing.add(_REVOKE)
        offered = [route for route in self.routes.all if route.path not in missing]
        return json_answers.answer(200, describe(offered, words))


def _page(
    rows: Sequence[Row], limit: int, show: Callable[[Row], Mapping[str, Any]], number: Callable[[Row], int]
) -> Answer:
    """One page of a list.

    :param rows: one more than the page holds, if there are more.
    """
    shown = rows[:limit]
    following = parameters.cursor(number(shown[-1])) if len(rows) > limit else None
    return json_answers.answer(200, {"items": [dict(show(row)) for row in shown], "next": following})


def _number(row: Enrollment) -> int:
    return row.id
