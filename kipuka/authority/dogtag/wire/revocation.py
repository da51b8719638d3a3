"""Revocation in Dogtag's JSON: what is sent, and what is answered."""

from __future__ import annotations

import json

from kipuka.authority.dogtag.wire.answer import Answer, mapping, optional_text, parse, printable
from kipuka.authority.revoking import Reason

_NAMES = {
    Reason.UNSPECIFIED: "Unspecified",
    Reason.KEY_COMPROMISE: "Key_Compromise",
    Reason.CA_COMPROMISE: "CA_Compromise",
    Reason.AFFILIATION_CHANGED: "Affiliation_Changed",
    Reason.SUPERSEDED: "Superseded",
    Reason.CESSATION_OF_OPERATION: "Cessation_of_Operation",
    Reason.CERTIFICATE_HOLD: "Certificate_Hold",
    Reason.REMOVE_FROM_CRL: "Remove_from_CRL",
    Reason.PRIVILEGE_WITHDRAWN: "Privilege_Withdrawn",
    Reason.AA_COMPROMISE: "AA_Compromise",
}


def revocation_body(reason: Reason, nonce: int | None) -> bytes:
    """Return the body of ``POST agent/certs/{id}/revoke``.

    The reason goes by name. A number, or a name that it does not know, is a stack trace at 10.x, and 11.x revokes
    for "unspecified" without a word.

    :param nonce: of the review; None where nonces are switched off (``ca.enableNonces=false``).
    """
    body: dict[str, object] = {"Reason": _NAMES[reason]}
    if nonce is not None:
        body["Nonce"] = nonce
    return json.dumps(body).encode("ascii")


def withdrawn(answer: Answer) -> tuple[bool, str]:
    """Read the answer of ``revoke`` and ``unrevoke``: whether it was done, and the CA's words.

    A failure may be a 200 with operationResult "error"; a success has no message.
    """
    body = mapping(parse(answer), "answer")
    result = optional_text(body.get("operationResult"), "operationResult")
    kind = optional_text(body.get("requestType"), "requestType")
    status = optional_text(body.get("requestStatus"), "requestStatus")
    error = optional_text(body.get("errorMessage"), "errorMessage")
    done = result == "success" and status == "complete" and not error
    return done, printable(f"{kind} {status}, {result}" + (f": {error}" if error else ""))
