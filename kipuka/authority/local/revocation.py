"""What the file CA revokes, and the CRL that says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from kipuka.authority.local import crl
from kipuka.authority.local.book import Book, Crl, Entry, InBook
from kipuka.authority.local.signing import key_hash
from kipuka.authority.revoking import Effect, Reason, Revoked, Standing, Step, effect, next_step, unknown
from kipuka.errors import AuthorityError, Kind

WATCH = 5.0
"""Seconds between two looks whether the CRL is due, or another node has published one."""

_TRIES = 5
_log = Logger("kipuka.crl")


@dataclass(frozen=True)
class Published:
    """A CRL that is in force."""

    number: int
    der: bytes
    parsed: x509.CertificateRevocationList


class Revocation:
    """Revokes in the book, and keeps the CRL fresh. A revocation and its CRL are one step: no one is without the other.

    Where several nodes share the book they share the CRL too.
    """

    def __init__(
        self,
        ca_id: str,
        issuer: x509.Certificate,
        key: CertificateIssuerPrivateKeyTypes,
        in_book: InBook,
        clock: IReactorTime,
    ) -> None:
        self._ca_id = ca_id
        self._issuer = issuer
        self._key = key
        self._key_hash = key_hash(issuer)
        self._in_book = in_book
        self._clock = clock
        self._sign = self._make if crl.may_sign(issuer) else None
        self._told: list[Callable[[x509.CertificateRevocationList], None]] = []
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._watch()))
        self._loop.clock = clock
        self._ended: Deferred[Any] = succeed(None)
        self.published: Published | None = None

    def tell(self, told: Callable[[x509.CertificateRevocationList], None]) -> Callable[[], None]:
        """Call with the CRL that is in force, and with each that follows it until what is returned is called."""
        self._told.append(told)
        if self.published is not None:
            told(self.published.parsed)
        return partial(self._told.remove, told)

    def prepare(self, book: Book) -> None:
        """Publish the first CRL of this start, so that no connection is taken without one. Blocks.

        Nothing is forgotten in it: a machine that has just started may not have the right time yet.
        """
        if self._sign is None:
            _log.warn(
                "CA {ca}: its certificate lacks the key usage cRLSign: no CRL is published, "
                "and revoked certificates still open connections",
                ca=self._ca_id,
            )
            return
        book.publish(self._key_hash, self._now(), self._sign)
        self._adopt(book.crl(self._key_hash))

    def start(self) -> None:
        """Begin to watch."""
        if self._sign is not None:
            self._ended = self._loop.start(WATCH, now=False)

    async def stop(self) -> None:
        """Stop watching."""
        if self._loop.running:
            self._loop.stop()
        await self._ended

    async def owns(self, serial: int) -> Standing | None:
        """Return how a certificate stands; None when none of this number is in the book.

        :raises AuthorityError: the book cannot be had now.
        """
        return (await self.standings([serial])).get(serial)

    async def standings(self, serials: Collection[int]) -> dict[int, Standing]:
        """Return how certificates stand, by number; those that are not in the book are left out.

        :raises AuthorityError: the book cannot be had now.
        """
        entries = await self._in_book(lambda book: book.find(self._key_hash, serials))
        return {entry.serial: _standing(entry) for entry in entries}

    async def revoke(self, serial: int, reason: Reason) -> Revoked:
        """Write the reason down and publish a CRL that has it, unless it stands so already.

        :raises AuthorityError: NOT_FOUND; CONFLICT; UNREACHABLE, when the book cannot be had now; BUSY, when others
            change the same certificate again and again.
        """
        acted = False
        for _ in range(_TRIES):
            standing = await self.owns(serial)
            if standing is None:
                raise unknown(serial)
            step = next_step(standing, reason)
            if isinstance(step, Effect):
                return Revoked(effect(reason) if acted else step, standing, self._words() if acted else "")
            # Here hold can become another reason in one step.
            after = None if step is Step.RELEASE and reason is Reason.REMOVE_FROM_CRL else reason.code
            acted = await self._mark(serial, standing.reason, after)
        raise AuthorityError(
            Kind.BUSY, "The certificate's status is being changed by others at the moment: try again later."
        )

    async def _mark(self, serial: int, before: Reason | None, after: int | None) -> bool:
        """Change the reason if it is still the one seen; the new CRL is in force then."""

        def work(book: Book) -> tuple[bool, Crl | None]:
            code = None if before is None else before.code
            marked = book.mark(self._key_hash, serial, code, after, self._now(), self._sign)
            return marked, book.crl(self._key_hash) if marked else None

        marked, newest = await self._in_book(work)
        self._adopt(newest)
        return marked

    async def _watch(self) -> None:
        """Take over what another node has published; publish when it is time."""
        try:
            await self.catch_up()
        except AuthorityError as trouble:
            _log.warn("CA {ca}: the CRL was not looked after: {trouble}", ca=self._ca_id, trouble=str(trouble))
        except Exception:
            _log.failure("CA {ca}: the CRL was not looked after", ca=self._ca_id)

    async def catch_up(self) -> None:
        """Take over what is in the book; publish when there is nothing yet, or it is time.

        :raises AuthorityError: the book cannot be had now.
        """
        current, sign = self.published, self._sign
        number = await self._in_book(lambda book: book.crl_number(self._key_hash))
        if current is None or number != current.number:
            self._adopt(await self._in_book(lambda book: book.crl(self._key_hash)))
        current = self.published
        last = None if current is None else current.parsed.last_update_utc
        next_update = None if current is None else current.parsed.next_update_utc
        if sign is not None and (next_update is None or next_update - self._now() <= crl.RENEWED):

            def renew(book: Book) -> Crl | None:
                book.publish(self._key_hash, self._now(), sign, last)
                return book.crl(self._key_hash)

            self._adopt(await self._in_book(renew))

    def _adopt(self, newest: Crl | None) -> None:
        if newest is None or (self.published is not None and newest.number <= self.published.number):
            return
        parsed = x509.load_der_x509_crl(newest.der)
        # A CA that has got another name with its old key is another issuer to whoever looks for its CRL.
        own = parsed.issuer == self._issuer.subject
        if not (own and parsed.is_signature_valid(self._issuer.public_key())):  # type: ignore[arg-type] # a CA's key
            _log.error(
                "CA {ca}: the CRL in the database has another issuer's name or signature; not used", ca=self._ca_id
            )
            return
        self.published = Published(newest.number, newest.der, parsed)
        for told in self._told:
            try:
                told(parsed)
            except Exception:  # no listener keeps it from the next
                _log.failure("CA {ca}: a listener does not take the CRL", ca=self._ca_id)

    def _make(self, number: int, entries: Sequence[Entry]) -> bytes:
        return crl.build(self._issuer, self._key, number, entries, self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)

    def _words(self) -> str:
        if self._sign is None or self.published is None:
            return "written down; no CRL, because the CA's certificate lacks the key usage cRLSign"
        return f"CRL {self.published.number} is published"


def _standing(entry: Entry) -> Standing:
    reason = None if entry.reason is None else Reason.of_code(entry.reason)
    return Standing(entry.subject, None, reason, entry.revoked)
