"""The requests at a Dogtag that have come to no end yet, and whose keys they carry."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nlargest

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.reading import Budget, each, remember
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import LIST_SECONDS, Call, list_limit, refusal
from kipuka.authority.interface import Absent, InProgress, Pending, Refused

Standing = Pending | Refused | InProgress

READ_AGAIN = 20
"""How many requests of which there was no review are tried once more after each sweep."""

_FOREIGN = 10_000
"""How many open requests of others are bearable."""
_LONG = 0.9 * LIST_SECONDS
"""Seconds after which a list may have been cut because the time for it was over."""
_ROUND = 1000
"""A limit is a round number: LDAP's own is 2000 entries, or 5000 looked at, unless the administrator sets another."""
_WITNESSES = 4
"""How many requests that ought to be in the lists are asked after one by one."""
_ENDS = ("complete", "rejected", "canceled")
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
    :param doubt: why a request that is in none of them may be open all the same; empty when nothing says so.
    :param longest: the length of the longest of them.
    """

    began: float
    states: dict[int, str]
    doubt: str
    longest: int


class OpenRequests:
    """Lists what is open and reads whose it is, which hardly changes: hardly a request is read twice.

    Every open request is read, be it older than what is looked for or not: neither its number nor what an earlier
    process read of it tells. Numbers rise with time only within a range, each clone has ranges of its own of which
    nothing is said here (and 11.x can draw them at random); and a CA that was restored from a backup gives numbers
    away again.

    A list may lack requests without a word, the newest above all: LDAP ends a search when one of its limits is
    reached, and Dogtag gives out what there is so far. Nothing in the list tells. So it is doubted when it is as long
    as was asked for, when it took as long as it may, when its length is a round number, and when it lacks one that
    kipuka knows to be pending and that is pending by Dogtag's word.
    """

    def __init__(self, call: Call, clock: IReactorTime) -> None:
        self._call = call
        self._clock = clock
        self._sweep = _Sweep(float("-inf"), {}, "", 0)
        self.sweeps = 0
        """How many were made so far."""
        self._keys: dict[int, str | None] = {}
        self._no_witnesses: dict[int, str | None] = {}
        """Those of kipuka's requests that need not be in a list: they are open no more."""
        self._not_here: dict[int, None] = {}
        """Those that the CA did not have when asked; the one that was asked after last is the last."""
        self._unreadable: dict[int, None] = {}
        """Requests of which there was no review; the one that was tried last is the last."""
        self._again = Budget(0)
        # One look-up after the other, so that what one has read, those beside it need not read.
        self._reading = DeferredLock()

    async def of_key(self, public_key: str, known: frozenset[str], budget: Budget) -> tuple[Standing | Absent, str]:
        """Look for a request with the key. No list it is looked for in was begun over two seconds before this call.

        :param known: numbers of requests that are not meant.
        :return: what was found, and why there may be something that was not; the latter is empty when nothing says so.
        :raises AuthorityError: the CA cannot say now.
        """
        asked = self._clock.seconds()
        await self._reading.acquire()
        try:
            if asked - self._sweep.began >= _SWEEP_AGE:
                self._sweep = await self._swept(known)
                self.sweeps += 1
                self._unreadable = {number: None for number in self._unreadable if number in self._sweep.states}
                self._again = Budget(READ_AGAIN)
            sweep = self._sweep
            states = {number: state for number, state in sweep.states.items() if str(number) not in known}
            reviews = await self._review_all(states, budget)
        finally:
            self._reading.release()
        found: list[Standing] = []
        for number, state in states.items():
            if self._keys.get(number) == public_key:
                review = reviews.get(number)  # None when an earlier look-up has read it
                status, notes = (review.status, review.notes) if review else (state, "")
                found.append(_standing(str(number), status, notes, sweep.longest))
        outweighing = (one for kind in (Pending, Refused, InProgress) for one in found if isinstance(one, kind))
        return next(outweighing, Absent(sweep.longest)), sweep.doubt

    async def _swept(self, known: frozenset[str]) -> _Sweep:
        began = self._clock.seconds()
        states: dict[int, str] = {}
        doubts = []
        longest = 0
        for state in _STATES:
            numbers, doubt = await self._listed(state, len(known) + _FOREIGN)
            states |= dict.fromkeys(numbers, state)
            longest = max(longest, len(numbers))
            doubts.append(doubt)
        doubts.append(await self._lacking(states, known))
        newest_first = {number: states[number] for number in sorted(states, reverse=True)}
        return _Sweep(began, newest_first, next(filter(None, doubts), ""), longest)

    async def _listed(self, state: str, maximum: int) -> tuple[tuple[int, ...], str]:
        """List the requests in a state, and say why there may be more."""
        began = self._clock.seconds()
        query = f"?requestState={state}&requestType=enrollment&maxResults={maximum}&maxTime={LIST_SECONDS}"
        answer = await self._call(Operation.REQUESTS, query=query, limit=list_limit(maximum))
        seconds = self._clock.seconds() - began
        if outcome.stumbled(answer):  # as 11.9 does when there are more
            return (), f"no list of requests in state {state}, there may be more than the CA gives"
        if answer.status != 200:
            raise outcome.failure(answer)
        numbers = wire.listed(answer)
        length = f"a list of {len(numbers)} requests in state {state}"
        if len(numbers) >= maximum:
            return numbers, f"{length}, more than are looked through"
        if seconds >= _LONG:
            return numbers, f"{length} after {seconds:.0f} s, {LIST_SECONDS} s are the limit of its search"
        if numbers and len(numbers) % _ROUND == 0:
            return numbers, f"{length}, which looks like a limit"
        return numbers, ""

    async def _lacking(self, states: dict[int, str], known: frozenset[str]) -> str:
        """Say which of kipuka's pending requests the lists lack, the newest of those that are not there.

        Those that the CA did not have come last and are not given up: its LDAP server may have been down, or what a
        clone got had not arrived.
        """
        own = (int(number) for number in known if number.isdecimal())
        lacking = {number for number in own if number not in states and number not in self._no_witnesses}
        self._not_here = {number: None for number in self._not_here if number in lacking}
        newest = nlargest(_WITNESSES, lacking - self._not_here.keys())
        for number in [*newest, *self._not_here][:_WITNESSES]:
            self._not_here.pop(number, None)
            answer = await self._call(Operation.REQUEST, str(number))
            if outcome.no_such_request(answer):
                self._not_here[number] = None
                continue
            if answer.status != 200:
                raise outcome.failure(answer)
            status = wire.requested(answer).status
            if status == "pending":
                return f"request {number} is pending and in no list"
            if status in _ENDS:
                remember(self._no_witnesses, number, None)
        return ""

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


def _standing(number: str, status: str, notes: str, longest: int) -> Standing:
    if status in ("rejected", "canceled"):
        return refusal(status, notes)
    # One that was completed a moment ago has a certificate, which is about to be found.
    return InProgress(number, longest) if status in ("begin", "complete") else Pending(number)
