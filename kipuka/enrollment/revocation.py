"""Revocation by serial number: which CA issued the certificate, and having it revoked there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from kipuka.authority.revoking import Effect, Reason, Revoked, Revokes, Standing
from kipuka.enrollment.ledger.ledger import Ledger
from kipuka.enrollment.ledger.states import Event
from kipuka.errors import AuthorityError, Kind, KipukaError, RequestError
from kipuka.store.store import StoreUnavailable

_log = Logger("kipuka.revocation")

_FINAL = {Effect.REVOKED, Effect.ALREADY_REVOKED}


@dataclass(frozen=True)
class RevocationResult:
    """What came of a revocation.

    :param ca_id: the CA that did it, or knew it to be done.
    """

    serial: int
    ca_id: str
    revoked: Revoked


class Revocation:
    """Finds the issuing CA of a serial number and revokes there.

    :param issuers: by the name of each issuing CA, its id or its group's: its instances. The one that issued, or that
        was named, is asked first, then its clones in this order.
    :param is_away: whether an instance is known to be away, by its id: its clones are asked before it, for one that
        hangs would cost its whole time limit.
    """

    def __init__(
        self,
        ledger: Ledger,
        issuers: Mapping[str, Sequence[Revokes]],
        is_away: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._ledger = ledger
        self._is_away = is_away
        self._issuers = {name: tuple(instances) for name, instances in issuers.items()}
        self._names = {each.id: name for name, instances in self._issuers.items() for each in instances}
        self._names |= {name: name for name in self._issuers}
        self._in_hand: set[Deferred[None]] = set()

    def revoke(self, serial: int, reason: Reason, ca_id: str | None, by: str) -> Deferred[RevocationResult]:
        """Revoke a certificate, or release it from hold. Cancelling stops only the waiting.

        :param ca_id: the CA that issued it, or its group. None: the one whose certificate of this number is in the
            ledger, else the only one that knows it.
        :param by: who wants it, for the log; the audit is the business of whoever asks.
        :return: fails with RequestError: NOT_FOUND: nobody has issued it, or there is no such CA; CONFLICT: several
            have, or one that is not configured any more, or it cannot be released. With AuthorityError: the CA that the
            text names has not confirmed it, or one that may have issued it cannot be asked.
        """
        answer: Deferred[RevocationResult] = Deferred(canceller=lambda _: None)

        async def carry() -> None:
            try:
                result = await self._revoke(serial, reason, ca_id)
            except Exception as error:
                if not isinstance(error, KipukaError):
                    _log.failure("revocation of {serial:#x} failed", serial=serial)
                if not answer.called:
                    answer.errback(error)
                return
            _log.info(
                "{serial:#x} of CA {ca}: {effect}, for {by}{said}",
                serial=serial,
                ca=result.ca_id,
                effect=result.revoked.effect.value,
                by=repr(by),
                said=f"; the CA says {result.revoked.said!r}" if result.revoked.said else "",
            )
            if not answer.called:
                answer.callback(result)

        self._begin(carry())
        return answer

    async def settled(self) -> None:
        """Wait until what is in hand has come to its end."""
        await gatherResults(list(self._in_hand))

    def _begin(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """A certificate on hold is good for a moment before it is revoked: nobody may stop in between."""
        task = Deferred.fromCoroutine(work)
        self._in_hand.add(task)
        task.addBoth(lambda _: self._in_hand.discard(task))

    async def _revoke(self, serial: int, reason: Reason, ca_id: str | None) -> RevocationResult:
        first = ca_id if ca_id is not None else await self._issuer(serial)
        issuer = self._named(first)
        instances = sorted(self._issuers[issuer], key=lambda each: (self._is_away(each.id), each.id != first))
        result = await self._at(instances, serial, reason)
        if result.revoked.effect in _FINAL:
            await self._close_rows(issuer, serial)
        return result

    def _named(self, ca_id: str) -> str:
        if ca_id not in self._names:
            raise RequestError(
                Kind.NOT_FOUND, f"There is no CA here that is called {ca_id[:64]!r} and revokes: check ca_id."
            )
        return self._names[ca_id]

    async def _issuer(self, serial: int) -> str:
        """Find the issuing CA of a number: the instance that is in the ledger, or the CA that knows the number."""
        try:
            rows = await self._ledger.run(lambda: self._ledger.store.of_serial(serial))
        except StoreUnavailable as trouble:
            raise AuthorityError(
                Kind.UNREACHABLE,
                "The server cannot look up at the moment which CA issued the certificate: name it with ca_id.",
                str(trouble),
            ) from trouble
        ids = {row.application.ca_id for row in rows}
        by_name = {self._names[each]: each for each in ids if each in self._names}
        if gone := sorted(ids - self._names.keys()):
            # One that is asked in their place may have used the same number for another certificate.
            raise RequestError(
                Kind.CONFLICT,
                f"By the ledger a CA that is not configured any more has issued a certificate with this serial number "
                f"({', '.join([*sorted(by_name), *gone])}; not configured: {', '.join(gone)}): name the CA that is "
                "meant with ca_id, or revoke the certificate at the CA itself.",
            )
        found = sorted(by_name) or await self._owners(serial)
        if not found:
            raise _nobody(serial)
        if len(found) > 1:
            raise RequestError(
                Kind.CONFLICT,
                f"Several CAs have issued a certificate with this serial number ({', '.join(found)}): "
                "name the one that is meant with ca_id.",
            )
        return by_name.get(found[0], found[0])

    async def _owners(self, serial: int) -> list[str]:
        """Ask every CA. One that cannot say may be the one, so that nothing is certain without it."""
        names = sorted(self._issuers)
        asked = [Deferred.fromCoroutine(self._standing(name, serial)) for name in names]
        answers = await gatherResults(asked)
        silent = [name for name, answer in zip(names, answers, strict=True) if isinstance(answer, AuthorityError)]
        if silent:
            causes = "; ".join(f"{name}: {answer}" for name, answer in zip(names, answers, strict=True) if answer)
            raise AuthorityError(
                Kind.UNREACHABLE,
                f"The CA {', '.join(silent)} cannot be asked whether it issued the certificate: "
                "name the CA that did with ca_id, or try again later.",
                causes,
            )
        return [name for name, answer in zip(names, answers, strict=True) if answer is not None]

    async def _standing(self, name: str, serial: int) -> Standing | AuthorityError | None:
        """Ask the instances of one CA until one can say."""
        trouble: AuthorityError | None = None
        for instance in sorted(self._issuers[name], key=lambda each: self._is_away(each.id)):
            try:
                standing = await instance.owns(serial)
            except AuthorityError as error:
                trouble = error
            else:
                if standing is not None:
                    return standing
        return trouble  # a clone may not know yet what one that is away has issued

    async def _at(self, instances: Sequence[Revokes], serial: int, reason: Reason) -> RevocationResult:
        """Have one of a CA's instances do it: the first that can. Doing it twice does no harm."""
        trouble: tuple[str, AuthorityError] | None = None
        for instance in instances:
            try:
                return RevocationResult(serial, instance.id, await instance.revoke(serial, reason))
            except AuthorityError as error:
                if error.kind is Kind.CONFLICT:
                    raise RequestError(Kind.CONFLICT, error.text, error.cause) from error
                if error.kind is not Kind.NOT_FOUND:
                    _log.warn("CA {ca} did not revoke {serial:#x}: {why}", ca=instance.id, serial=serial, why=error)
                    trouble = trouble or (instance.id, error)
        if trouble is None:
            raise _nobody(serial)
        name, first = trouble
        raise AuthorityError(first.kind, f"Not confirmed by CA {name}: {first.text}", first.cause) from first

    async def _close_rows(self, issuer: str, serial: int) -> None:
        """See that the certificate is not given out again; its status would be asked before that all the same."""
        try:
            for row in await self._ledger.run(lambda: self._ledger.store.of_serial(serial)):
                if self._names.get(row.application.ca_id) == issuer:
                    await self._ledger.happen(Event.OUTDATED, row)
        except StoreUnavailable as trouble:
            _log.warn("{serial:#x} is revoked, and the ledger does not know: {why}", serial=serial, why=trouble)


def _nobody(serial: int) -> RequestError:
    return RequestError(
        Kind.NOT_FOUND, f"No CA here has issued a certificate with the serial number {serial:#x}: check the number."
    )
