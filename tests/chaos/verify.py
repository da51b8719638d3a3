"""The verdict: what the CA says it has issued, compared by public key with what the clients hold."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

from cryptography import x509

from tests.chaos.clients import Result, public_key

_MOST_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that must not be."""

    number: int | None
    """The client's, if it is known."""
    text: str
    certificates: int = 1
    """How many are lost, doubled or wrong in this way."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Counts certificates: ``lost`` those a client should hold and does not, ``doubled`` those beyond one a request."""

    issued: int
    """Certificates of the run at the CA."""
    held: int
    refused: int
    lost: Sequence[Finding]
    doubled: Sequence[Finding]
    wrong: Sequence[Finding]
    """Anything else: a refusal nobody decided, a certificate the CA does not know."""

    @property
    def good(self) -> bool:
        """Whether exactly one certificate exists for each request, and its client has it."""
        return not (self.lost or self.doubled or self.wrong)


def judge(results: Iterable[Result], issued: Sequence[x509.Certificate]) -> Verdict:
    """Compare; ``issued`` are all certificates of the run at the CA.

    A key may be asked for twice: by enrolling and by renewing with the same key. Then there must be two certificates.
    """
    at_ca: dict[bytes, list[x509.Certificate]] = defaultdict(list)
    for certificate in issued:
        at_ca[public_key(certificate.public_key())].append(certificate)
    by_key: dict[bytes, list[Result]] = defaultdict(list)
    for result in results:
        by_key[result.key].append(result)

    lost: list[Finding] = []
    doubled: list[Finding] = []
    wrong: list[Finding] = []
    for key, asked in by_key.items():
        found = at_ca.pop(key, [])
        held = [each.certificate for each in asked if each.certificate is not None]
        lost += [Finding(each.number, _loss(each, found)) for each in asked if _is_lost(each)]
        wrong += [Finding(each.number, text) for each in asked if (text := _contradiction(each))]
        # The same certificate given for two different requests counts once: the other request has none.
        if shared := len(held) - len(set(held)):
            lost.append(Finding(asked[0].number, "one certificate was given for two requests", shared))
        wrong += [
            Finding(asked[0].number, f"certificate {_serial(each)} is unknown to the CA")
            for each in held
            if each not in found
        ]
        wanted = sum(not each.refusal_expected for each in asked)
        if len(found) > wanted:
            stray = [each for each in found if each not in held]
            text = f"{len(found)} certificates for {wanted} requests; nobody has {_serials(stray)}"
            doubled.append(Finding(asked[0].number, text, len(found) - wanted))
    wrong += [
        Finding(None, f"certificate {_serial(each)} ({each.subject.rfc4514_string()}) is for a key nobody asked for")
        for strays in at_ca.values()
        for each in strays
    ]
    every = [each for asked in by_key.values() for each in asked]
    return Verdict(
        issued=len(issued),
        held=sum(each.certificate is not None for each in every),
        refused=sum(each.refusal is not None for each in every),
        lost=lost,
        doubled=doubled,
        wrong=wrong,
    )


def _is_lost(result: Result) -> bool:
    return result.certificate is None and not result.refusal_expected


def _loss(result: Result, found: Sequence[x509.Certificate]) -> str:
    ending = result.trouble or result.refusal or "no certificate"
    return f"{result.operation}: {ending}; {result.attempts} attempts; at the CA: {_serials(found)}"


def _contradiction(result: Result) -> str | None:
    if result.refusal_expected and result.certificate is not None:
        return f"{result.operation}: the agent said no, and the client has certificate {_serial(result.certificate)}"
    if result.refusal_expected and result.refusal is None:
        return f"{result.operation}: the agent said no, and the client was not told: {result.trouble}"
    return None


def _serial(certificate: x509.Certificate) -> str:
    return f"0x{certificate.serial_number:x}"


def _serials(certificates: Sequence[x509.Certificate]) -> str:
    named = ", ".join(map(_serial, certificates[:_MOST_NAMED])) or "nothing"
    return named + (f" and {len(certificates) - _MOST_NAMED} more" if len(certificates) > _MOST_NAMED else "")
