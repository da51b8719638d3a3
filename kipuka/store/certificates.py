"""What the CAs whose keys kipuka holds have issued and revoked, and their CRLs.

A certificate is kept until it has expired, which may be long after the ledger has forgotten its request. A CA is known
here by its key, SHA-256 of its SubjectPublicKeyInfo in hex, and not by its id in the configuration: under a new id its
certificates must not be good again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, select, update

from kipuka.store.database.engine import Database
from kipuka.store.schema import EPOCH, certificates, crls

_ROW = certificates.c
_LISTED = timedelta(days=2)
"""How long a certificate stays on the CRL after it has expired: at least one CRL (RFC 5280 §3.3)."""
_MILLISECOND = timedelta(milliseconds=1)
_KEPT = timedelta(days=30)
"""How long it is known after that: somebody may still ask for its revocation, and gets an answer."""


@dataclass(frozen=True)
class Entry:
    """One certificate. ``reason`` is the number of RFC 5280 §5.3.1; None, as is ``revoked``, while it is good."""

    serial: int
    subject: str
    not_after: datetime
    revoked: datetime | None = None
    reason: int | None = None


@dataclass(frozen=True)
class Crl:
    """A CRL and its number."""

    number: int
    der: bytes


Sign = Callable[[int, Sequence[Entry]], bytes]
"""Makes the DER of a CRL out of its number and what is on it."""


class Certificates:
    """The book of each CA. Blocking; every method is one transaction and raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, ca_key: str, serial: int, subject: str, not_after: datetime) -> None:
        """Write down what is about to be handed out."""
        values = {"ca_key": ca_key, "serial": f"{serial:x}", "subject": subject, "not_after": not_after}
        with self._database.write() as connection:
            connection.execute(certificates.insert().values(values))

    def find(self, ca_key: str, serials: Collection[int]) -> list[Entry]:
        """The certificates of these numbers, at most a thousand, that the CA has issued."""
        numbers = [f"{serial:x}" for serial in serials]
        with self._database.read() as connection:
            query = select(certificates).where(_ROW.ca_key == ca_key, _ROW.serial.in_(numbers))
            return list(map(_entry, connection.execute(query)))

    def mark(
        self, ca_key: str, serial: int, before: int | None, reason: int | None, now: datetime, sign: Sign | None
    ) -> bool:
        """Revoke a certificate, change the reason, or release it (``reason`` None), and publish a CRL that says so.

        :param before: the reason it had: if it has another one now, nothing is changed, and False is returned.
        :param sign: makes the CRL, inside the transaction; None: there is none.
        """
        change = update(certificates).where(_is(ca_key, serial), _ROW.reason.is_not_distinct_from(before))
        change = change.values(revoked=None if reason is None else now, reason=reason)
        with self._database.write() as connection:
            number = self._next_number(connection, ca_key, now)
            if connection.execute(change).rowcount != 1:
                connection.rollback()
                return False
            self._put(connection, ca_key, number, now, sign)
        return True

    def publish(self, ca_key: str, now: datetime, sign: Sign, last: datetime | None = None) -> None:
        """Put a new CRL in place, and forget what had expired long before the last one.

        :param sign: makes it, inside the transaction.
        :param last: when that was issued; None: nothing is forgotten. The clock may be wrong at a single one.
        """
        with self._database.write() as connection:
            self._put(connection, ca_key, self._next_number(connection, ca_key, now), now, sign)
            if last is not None:
                connection.execute(delete(certificates).where(_ROW.ca_key == ca_key, _ROW.not_after < last - _KEPT))

    def crl_number(self, ca_key: str) -> int:
        """The number of the newest CRL; 0 when there is none."""
        with self._database.read() as connection:
            return connection.execute(select(crls.c.number).where(crls.c.ca_key == ca_key)).scalar() or 0

    def crl(self, ca_key: str) -> Crl | None:
        """The newest CRL."""
        with self._database.read() as connection:
            row = connection.execute(select(crls).where(crls.c.ca_key == ca_key)).first()
        return None if row is None or not row.der else Crl(row.number, row.der)

    def _next_number(self, connection: Connection, ca_key: str, now: datetime) -> int:
        """Take the next CRL number. Nobody else gets one until the transaction ends: no CRL misses what another has.

        It is the milliseconds since 1970, or one more than the last if that is not less: so it rises also when an older
        copy of the database was restored, or the database was lost (RFC 5280 §5.2.3).
        """
        clock = (now - EPOCH) // _MILLISECOND
        following = crls.c.number + 1
        taking = self._database.insert(crls).values(ca_key=ca_key, number=clock, der=b"")
        taking = taking.on_conflict_do_update(
            index_elements=[crls.c.ca_key], set_={"number": case((following > clock, following), else_=clock)}
        )
        return int(connection.execute(taking.returning(crls.c.number)).scalar_one())

    def _put(self, connection: Connection, ca_key: str, number: int, now: datetime, sign: Sign | None) -> None:
        if sign is None:
            return
        is_listed = and_(_ROW.ca_key == ca_key, _ROW.reason.is_not(None), _ROW.not_after >= now - _LISTED)
        rows = connection.execute(select(certificates).where(is_listed).order_by(_ROW.serial)).all()
        der = sign(number, list(map(_entry, rows)))
        connection.execute(update(crls).where(crls.c.ca_key == ca_key).values(der=der))


def _is(ca_key: str, serial: int) -> ColumnElement[bool]:
    return and_(_ROW.ca_key == ca_key, _ROW.serial == f"{serial:x}")


def _entry(row: Row[Any]) -> Entry:
    return Entry(int(row.serial, 16), row.subject, row.not_after, row.revoked, row.reason)
