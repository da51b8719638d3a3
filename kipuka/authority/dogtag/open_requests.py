"""The requests at a Dogtag that have come to no end yet, and whose keys they carry."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.reading import Budget, each, remember
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import LIST_SECONDS, Call, list_limit, refusal
from kipuka.authority.interface import InProgress, Pending, Refused
from kipuka.errors import Kind

Standing = Pending | Refused | InProgress

READ_AGAIN = 20
"""How many requests of which there was no review are tried once more after each sweep."""

_FOREIGN = 10_000
"""How many open requests of others are bearable."""
_SWEEP_AGE = 2.0
"""Seconds a sweep is good for: many look-ups come at once, and a long list costs Dogtag seconds."""
# In the order in which a request goes through them: what moves on while it is looked for is met again further down.
_STATES = ("begin", "pending", "approved", "svc_pending")


@dataclass(frozen=True)
class _Sweep:
    """The lists of all states, made one after the other in the order of :data:`_STATES`.

    They grow old together: a newer list of "begin" beside an older one of "pending" would lack what has gone from the
    one to the other in between.

    :param began: the clock's time before the first of them.
    :param states: each request and the last list it was in, the newest number first.
    """

    began: float
    states: dict[int, str]


class OpenRequests:
    """Lists what is open and reads whose it is, which hardly changes: hardly a request is read twice.

    Every open request is read, be it older than what is looked for or not: neither its number nor what an earlier
    process read of it tells. Numbers rise with time only within a range, each clone has ranges of its own of which
    nothing is said here (and 11.x can draw them at random); and a CA that was restored from a backup gives numbers
    away again.
    """

    def __init__(self, call: Call, clock: IReactorTime) -> None:
        self._call = call
        self._clock = clock
        self._sweep = _Sweep(float("-inf"), {})
        self.sweeps = 0
        """How many were made so far."""
        self._keys: dict[int, str | None] = {}
        self._unreadable: dict[int, None] = {}
        """Requests of which there was no review; the one that was tried last is the last."""
        self._again = Budget(0)
        # One look-up after the other, so that what one has read, those beside it need not read.
        self._reading = DeferredLock()

    async def of_key(self, public_key: str, known: frozenset[str], budget: Budget) -> Standing | None:
        """Look for a request with the key. No list it is looked for in was begun over two seconds before this call.

        :param known: numbers of requests that are not meant.
        :raises AuthorityError: the CA cannot say now.
        """
        asked = self._clock.seconds()
        await self._reading.acquire()
        try:
            if asked - self._sweep.began >= _SWEEP_AGE:
                self._sweep = await self._swept(len(known))
                self.sweeps += 1
                self._unreadable = {number: None for number in self._unreadable if number in self._sweep.states}
                self._again = Budget(READ_AGAIN)
            states = {number: state for number, state in self._sweep.states.items() if str(number) not in known}
            reviews = await self._review_all(states, budget)
        finally:
            self._reading.release()
        found: list[Standing] = []
        for number, state in states.items():
            if self._keys.get(number) == public_key:
                review = reviews.get(number)  # None when an earlier look-up has read it
                found.append(_standing(str(number), *((review.status, review.notes) if review else (state, ""))))
        return next((one for kind in (Pending, Refused, InProgress) for one in found if isinstance(one, kind)), None)

    async def _swept(self, known: int) -> _Sweep:
        began = self._clock.seconds()
        states: dict[int, str] = {}
        for state in _STATES:
            states |= dict.fromkeys(await self._listed(state, known + _FOREIGN), state)
        return _Sweep(began, {number: states[number] for number in sorted(states, reverse=True)})

    async def _listed(self, state: str, maximum: int) -> tuple[int, ...]:
        query = f"?requestState={state}&requestType=enrollment&maxResults={maximum}&maxTime={LIST_SECONDS}"
        answer = await self._call(Operation.REQUESTS, query=query, limit=list_limit(maximum))
        if answer.status != 200:
            raise outcome.failure(answer)
        numbers = wire.listed(answer)
        if len(numbers) >= maximum:
            raise outcome.error(Kind.BUSY, f"{len(numbers)} requests in state {state} are too many to look through")
        return numbers

    async def _review_all(self, numbers: dict[int, str], budget: Budget) -> dict[int, wire.Review]:
        """Read those that were not read yet, and at last some of those that could not be read.

        Of a request whose profile was deleted there is no review for good. It may cost a call now and then, but must
        not use the budget up: then nothing would be found out any more.
        """
        reviews: dict[int, wire.Review] = {}

        async def read(number: int) -> None:
            self._unreadable.pop(number, None)
            if review := await self._review(number):
                reviews[number] = review
                remember(self._keys, number, review.public_key)
            else:
                self._unreadable[number] = None

        new = [number for number in numbers if number not in self._keys and number not in self._unreadable]
        again = [number for number in self._unreadable if number in numbers]
        await each(
            read, [number for number in new if budget.take()] + [number for number in again if self._again.take()]
        )
        return reviews

    async def _review(self, number: int) -> wire.Review | None:
        """Return None when Dogtag has no review to give, as of a request whose profile was deleted."""
        answer = await self._call(Operation.REVIEW, str(number))
        if outcome.stumbled(answer):
            return None
        if answer.status != 200:
            raise outcome.failure(answer)
        return wire.review(answer)


def _standing(number: str, status: str, notes: str) -> Standing:
    if status in ("rejected", "canceled"):
        return refusal(status, notes)
    # One that was completed a moment ago has a certificate, which is about to be found.
    return InProgress(number) if status in ("begin", "complete") else Pending(number)
