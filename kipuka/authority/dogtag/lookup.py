"""Finding what became of a request by its public key, for which Dogtag has no search."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import LIST_SECONDS, Call, list_limit, refusal
from kipuka.authority.interface import Absent, Finding, InProgress, Issued, Pending, Refused
from kipuka.errors import Kind

READ_AT_ONCE = 200
"""How many requests, and how many certificates, one look-up reads at most."""
PAGE = 500
"""How many certificates one search asks for; an entry has 550 bytes."""
PAGES = 20

_PARALLEL = 4
"""How many requests, and how many certificates, are read at the same time."""
_REMEMBERED = 50_000
_FOREIGN = 10_000
"""How many open requests of others are bearable."""
_LIST_AGE = 2.0
"""Seconds a list of requests is good for: many look-ups come at once, and a long list costs Dogtag seconds."""
# In the order in which a request goes through them: what moves on while it is looked for is met again further down.
_STATES = ("begin", "pending", "approved", "svc_pending")


class Lookup:
    """Compares the keys of requests and certificates, and remembers them: hardly one is read twice in a process's life.

    Every open request is read, be it older than what is looked for or not: neither its number nor what an earlier
    process read of it tells. Numbers rise with time only within a range, each clone has ranges of its own of which
    nothing is said here (and 11.x can draw them at random); and a CA that was restored from a backup gives numbers
    away again.
    """

    def __init__(self, call: Call, clock: IReactorTime) -> None:
        self._call = call
        self._clock = clock
        self._lists: dict[str, tuple[float, tuple[int, ...]]] = {}
        self._searches: dict[bytes, tuple[int, ...]] = {}
        """What was found since the last list was made, and no earlier: what left the list in between is found here."""
        self._lists_made = 0
        self._requests: dict[int, str | None] = {}
        self._certificates: dict[int, str | None] = {}
        # One look-up after the other searches and reads, so that what one has read, those beside it need not read.
        self._searching = DeferredLock()
        self._reading_requests = DeferredLock()
        self._reading_certificates = DeferredLock()

    def note(self, certificate: x509.Certificate) -> None:
        """Remember a certificate that was read for other reasons."""
        _remember(self._certificates, certificate.serial_number, wire.key_digest(certificate))

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Look through open requests, then through certificates: those with the subject's common name, then all.

        The order matters: a request may be in state "begin", for good if Dogtag died then, although its certificate
        exists. So certificates come last and outweigh what was found before. (They come first as well, by name: most
        answers that are lost say "complete", and then there is no need to look any further.) InProgress is a request
        in "begin" without a certificate; a Dogtag that was started anew never takes it up again.

        Absent proves that, when each was looked at (requests, and certificates after them, up to two seconds ago), this
        server had

        - no open request with the key, other than those in ``known`` and those of profiles that were deleted since,
          whose CSR Dogtag cannot show;
        - no certificate with the key, other than those in ``known``, that by the server's clock was issued at or
          after ``since``: none with the subject's common name, and none under any name among the first 10,000 issued
          since, for a profile may make another subject.

        It does not prove that none will come. A request that was sent may be on the wire, wait for a thread of Tomcat
        or hang in LDAP before there is any record of it, and what Tomcat has read it finishes though the connection
        is gone. Only time shows that: look-ups that find nothing for longer than Dogtag ever takes. Nor does it say
        anything of a clone, whose records arrive when replication works. Refused requests are not looked for: sent
        again, such a request is refused again.

        :raises AuthorityError: the CA cannot say now; BUSY, when there was more to read than is read in one go, and
            then the next call goes on from there.
        """
        issued_from = int(since.timestamp()) * 1000  # Dogtag looks at whole seconds
        name = common_name(subject)
        named = wire.search_body(issued_from, name) if name else None
        requests, certificates = _Budget(), _Budget()

        if named:
            found = await self._search(named)
            if certificate := await self._certificate(found, public_key, known, certificates):
                return Issued(certificate)
        request = await self._open_request(public_key, known, requests)
        if named:
            found = await self._search(named)
            if certificate := await self._certificate(found, public_key, known, certificates):
                return Issued(certificate)
        found = await self._search_once(wire.search_body(issued_from))
        if certificate := await self._certificate(found, public_key, known, certificates):
            return Issued(certificate)
        if request is None and (requests.exceeded or certificates.exceeded):
            raise outcome.error(Kind.BUSY, f"more than {READ_AT_ONCE} requests or certificates to compare")
        return request or Absent()

    async def _open_request(
        self, public_key: str, known: frozenset[str], budget: _Budget
    ) -> Pending | Refused | InProgress | None:
        found: list[Pending | Refused | InProgress] = []
        for state in _STATES:
            await self._reading_requests.acquire()
            try:
                numbers = [each for each in await self._listed(state, len(known)) if str(each) not in known]
                reviews = await self._review_all(numbers, budget)
            finally:
                self._reading_requests.release()
            for number in numbers:
                if self._requests.get(number) == public_key:
                    review = reviews.get(number)
                    status, notes = (review.status, review.notes) if review else (state, "")
                    found.append(_standing(str(number), status, notes))
        return next((each for kind in (Pending, Refused, InProgress) for each in found if isinstance(each, kind)), None)

    async def _review_all(self, numbers: list[int], budget: _Budget) -> dict[int, wire.Review]:
        reviews: dict[int, wire.Review] = {}

        async def read(number: int) -> None:
            if review := await self._review(number):
                reviews[number] = review
                _remember(self._requests, number, review.public_key)

        await _each(read, [each for each in numbers if each not in self._requests and budget.take()])
        return reviews

    async def _listed(self, state: str, known: int) -> tuple[int, ...]:
        """List the requests in a state, the newest first."""
        then, numbers = self._lists.get(state, (float("-inf"), ()))
        if self._clock.seconds() - then < _LIST_AGE:
            return numbers
        maximum = known + _FOREIGN
        query = f"?requestState={state}&requestType=enrollment&maxResults={maximum}&maxTime={LIST_SECONDS}"
        answer = await self._call(Operation.REQUESTS, query=query, limit=list_limit(maximum))
        if answer.status != 200:
            raise outcome.failure(answer)
        numbers = tuple(sorted(wire.listed(answer), reverse=True))
        if len(numbers) >= maximum:
            raise outcome.error(Kind.BUSY, f"{len(numbers)} requests in state {state} are too many to look through")
        self._lists[state] = (self._clock.seconds(), numbers)
        self._lists_made += 1
        self._searches.clear()
        return numbers

    async def _review(self, number: int) -> wire.Review | None:
        """Return None when Dogtag has no review to give, as of a request whose profile was deleted."""
        answer = await self._call(Operation.REVIEW, str(number))
        if outcome.stumbled(answer):
            return None
        if answer.status != 200:
            raise outcome.failure(answer)
        return wire.review(answer)

    async def _certificate(
        self, serials: tuple[int, ...], public_key: str, known: frozenset[str], budget: _Budget
    ) -> x509.Certificate | None:
        candidates = [each for each in serials if hex(each) not in known]
        certificates = await self._fetch_all(candidates, budget)
        for serial in candidates:
            if self._certificates.get(serial) == public_key:
                return certificates.get(serial) or await self._fetch(serial)
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
        """Search, unless another look-up did since the last list was made."""
        await self._searching.acquire()
        try:
            if body in self._searches:
                return self._searches[body]
            lists_made = self._lists_made
            serials = await self._search(body)
            if lists_made == self._lists_made:
                self._searches[body] = serials
            return serials
        finally:
            self._searching.release()

    async def _fetch_all(self, serials: list[int], budget: _Budget) -> dict[int, x509.Certificate]:
        certificates: dict[int, x509.Certificate] = {}

        async def read(serial: int) -> None:
            certificates[serial] = await self._fetch(serial)
            self.note(certificates[serial])

        await self._reading_certificates.acquire()
        try:
            await _each(read, [each for each in serials if each not in self._certificates and budget.take()])
        finally:
            self._reading_certificates.release()
        return certificates

    async def _fetch(self, serial: int) -> x509.Certificate:
        answer = await self._call(Operation.CERTIFICATE, hex(serial))
        if answer.status != 200:
            raise outcome.failure(answer)
        return wire.certificate(answer).certificate


def common_name(subject: str) -> str | None:
    """Return the first common name of an RFC 4514 subject as Dogtag stores it; None when there is none to look for."""
    try:
        names = x509.Name.from_rfc4514_string(subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    # Dogtag drops spaces at the ends, from certificates too.
    return str(names[0].value).strip() or None if names else None


def _standing(number: str, status: str, notes: str) -> Pending | Refused | InProgress:
    if status in ("rejected", "canceled"):
        return refusal(status, notes)
    # One that was completed a moment ago has a certificate, which is about to be found.
    return InProgress(number) if status in ("begin", "complete") else Pending(number)


async def _each(read: Callable[[int], Coroutine[Deferred[Any], Any, None]], numbers: Iterable[int]) -> None:
    """Read several at the same time, in this order; the first that fails is the last that is begun."""
    left = iter(numbers)

    async def some() -> None:
        for number in left:
            try:
                await read(number)
            except BaseException:
                list(left)
                raise

    results = await DeferredList([Deferred.fromCoroutine(some()) for _ in range(_PARALLEL)], consumeErrors=True)
    for _, result in results:
        if isinstance(result, Failure):
            result.raiseException()


class _Budget:
    """How much one look-up may still read."""

    def __init__(self) -> None:
        self._left = READ_AT_ONCE
        self.exceeded = False

    def take(self) -> bool:
        """Return whether one more may be read."""
        if self._left == 0:
            self.exceeded = True
            return False
        self._left -= 1
        return True


def _remember(memory: dict[int, str | None], number: int, public_key: str | None) -> None:
    """Keep the newest entries only."""
    memory[number] = public_key
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
