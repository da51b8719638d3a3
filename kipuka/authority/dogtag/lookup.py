"""Finding what became of a request by its public key, for which Dogtag has no search."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.open_requests import OpenRequests
from kipuka.authority.dogtag.reading import Budget, each, remember
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import Call
from kipuka.authority.interface import Absent, Finding, Issued, Pending, Refused
from kipuka.errors import Kind

READ_AT_ONCE = 200
"""How many requests, and how many certificates, one look-up reads at most."""
PAGE = 500
"""How many certificates one search asks for; an entry has 550 bytes."""
PAGES = 20

_RAISE_LIMITS = "raise the LDAP limits of Dogtag's bind user, or have requests decided (docs/troubleshooting.md)"


class Lookup:
    """Compares the keys of requests and certificates, and remembers them: hardly one is read twice."""

    def __init__(self, call: Call, clock: IReactorTime) -> None:
        self._call = call
        self._requests = OpenRequests(call, clock)
        self._searches: dict[bytes, tuple[int, ...]] = {}
        """What was found since the last sweep of requests, and no earlier: what left its lists is found here."""
        self._searched_after = 0
        """How many sweeps there were before these."""
        self._certificates: dict[int, str | None] = {}
        # One look-up after the other searches and reads, so that what one has read, those beside it need not read.
        self._searching = DeferredLock()
        self._reading_certificates = DeferredLock()

    def note(self, certificate: x509.Certificate) -> None:
        """Remember a certificate that was read for other reasons."""
        remember(self._certificates, certificate.serial_number, wire.key_digest(certificate))

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Look through open requests, then through certificates: those with the subject's common name, then all.

        The order matters: a request may be in state "begin", for good if Dogtag died then, although its certificate
        exists. So certificates come last and outweigh what was found before. (They come first as well, by name: most
        answers that are lost say "complete", and then there is no need to look any further.) InProgress is a request
        in "begin" without a certificate; a Dogtag that was started anew never takes it up again.

        Absent proves that, when each was looked at (requests no earlier than two seconds before this call, certificates
        after them), this server had

        - no open request with the key, other than those in ``known``, those of profiles that were deleted since, whose
          CSR Dogtag cannot show, and those that an LDAP limit kept from lists in which nothing shows it;
        - no certificate with the key, other than those in ``known``, that by the server's clock was issued at or
          after ``since``: none with the subject's common name, and none under any name among the first 10,000 issued
          since, for a profile may make another subject.

        It does not prove that none will come. A request that was sent may be on the wire, wait for a thread of Tomcat
        or hang in LDAP before there is any record of it, and what Tomcat has read it finishes though the connection
        is gone. Only time shows that: look-ups that find nothing for longer than Dogtag ever takes. Nor does it say
        anything of a clone, whose records arrive when replication works. Refused requests are not looked for: sent
        again, such a request is refused again.

        :raises AuthorityError: the CA cannot say now; BUSY, when there was more to read than is read in one go, and
            then the next call goes on from there, or when the lists may be short and what was found is no answer.
        """
        issued_from = int(since.timestamp()) * 1000  # Dogtag looks at whole seconds
        name = common_name(subject)
        named = wire.search_body(issued_from, name) if name else None
        requests, certificates = Budget(READ_AT_ONCE), Budget(READ_AT_ONCE)

        if named:
            found = await self._search(named)
            if certificate := await self._certificate(found, public_key, known, certificates):
                return Issued(certificate)
        request, doubt = await self._requests.of_key(public_key, known, requests)
        if named:
            found = await self._search(named)
            if certificate := await self._certificate(found, public_key, known, certificates):
                return Issued(certificate)
        found = await self._search_once(wire.search_body(issued_from))
        if certificate := await self._certificate(found, public_key, known, certificates):
            return Issued(certificate)
        if doubt and not isinstance(request, Pending | Refused):
            raise outcome.error(Kind.BUSY, f"{doubt}: {_RAISE_LIMITS}")
        if isinstance(request, Absent) and (requests.exceeded or certificates.exceeded):
            raise outcome.error(Kind.BUSY, f"more than {READ_AT_ONCE} requests or certificates to compare")
        return request

    async def _certificate(
        self, serials: tuple[int, ...], public_key: str, known: frozenset[str], budget: Budget
    ) -> x509.Certificate | None:
        candidates = [serial for serial in serials if hex(serial) not in known]
        answers = await self._fetch_all(candidates, budget)
        for serial in candidates:
            if self._certificates.get(serial) == public_key:
                return wire.certificate(answers.get(serial) or await self._fetch(serial)).certificate
        return None

    async def _search(self, body: bytes) -> tuple[int, ...]:
        serials: list[int] = []
        for start in range(0, PAGES * PAGE, PAGE):
            answer = await self._call(Operation.SEARCH, body=body, query=f"?start={start}&size={PAGE}")
            if answer.status != 200:
                raise outcome.failure(answer)
            page = wire.found(answer)
            serials += page
            if len(page) < PAGE:
                break
        return tuple(serials)

    async def _search_once(self, body: bytes) -> tuple[int, ...]:
        """Search, unless another look-up did since the last sweep of requests."""
        await self._searching.acquire()
        try:
            sweeps = self._requests.sweeps
            if sweeps != self._searched_after:
                self._searches.clear()
                self._searched_after = sweeps
            if body not in self._searches:
                serials = await self._search(body)
                if sweeps != self._requests.sweeps:  # it may be older than lists it would be used with
                    return serials
                self._searches[body] = serials
            return self._searches[body]
        finally:
            self._searching.release()

    async def _fetch_all(self, serials: list[int], budget: Budget) -> dict[int, wire.Answer]:
        answers: dict[int, wire.Answer] = {}

        async def read(serial: int) -> None:
            answers[serial] = await self._fetch(serial)
            remember(self._certificates, serial, wire.certified_key(answers[serial]))

        await self._reading_certificates.acquire()
        try:
            await each(read, [serial for serial in serials if serial not in self._certificates and budget.take()])
        finally:
            self._reading_certificates.release()
        return answers

    async def _fetch(self, serial: int) -> wire.Answer:
        answer = await self._call(Operation.CERTIFICATE, hex(serial))
        if answer.status != 200:
            raise outcome.failure(answer)
        return answer


def common_name(subject: str) -> str | None:
    """Return the first common name of an RFC 4514 subject as Dogtag stores it; None when there is none to look for."""
    try:
        names = x509.Name.from_rfc4514_string(subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    # Dogtag drops spaces at the ends, from certificates too.
    return str(names[0].value).strip() or None if names else None
