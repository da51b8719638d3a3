"""Which rows of the ledger a person wants to see."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Select, select

from kipuka.store.rows import State
from kipuka.store.schema import enrollments

_ROW = enrollments.c


class Filters(TypedDict, total=False):
    """Rows that fit all that is given; None leaves one out.

    :param caller: a part of the caller's name, in upper or lower case.
    :param subject: a part of the subject that was asked for, in upper or lower case.
    :param serial: of the certificate, as hex with 0x.
    :param since: first asked for at or after this time.
    :param certified: only those for which there is a certificate.
    """

    states: Collection[State] | None
    ca_id: str | None
    label: str | None
    caller: str | None
    subject: str | None
    serial: str | None
    since: datetime | None
    certified: bool


def listing(**filters: Unpack[Filters]) -> Select[Any]:
    """Select them, newest first."""
    query = select(enrollments).order_by(_ROW.id.desc())
    if (states := filters.get("states")) is not None:
        query = query.where(_ROW.state.in_(states))
    for name in ("ca_id", "label", "serial"):
        if (value := filters.get(name)) is not None:
            query = query.where(_ROW[name] == value)
    for name in ("caller", "subject"):
        if (part := filters.get(name)) is not None:
            query = query.where(_ROW[name].icontains(part, autoescape=True))
    if (since := filters.get("since")) is not None:
        query = query.where(_ROW.created >= since)
    if filters.get("certified"):
        query = query.where(_ROW.certificate.is_not(None))
    return query
