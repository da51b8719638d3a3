"""Dogtag's JSON, as bytes here and as frozen values there. No network, no decisions.

Recorded from 10.10.2 and from the v1 API of 11.9.1, which differ little: 10.x names a request only in ``requestURL``
(decimal), 11.x in ``requestID`` (hexadecimal, 128 bit) and leaves members out instead of sending null.

Every function raises :class:`kipuka.errors.AuthorityError` of kind BAD_ANSWER when the body is not of the promised
shape; the offending text is in its cause, cut to a bounded length.
"""

from kipuka.authority.dogtag.wire.answer import Answer, message, parse_id, printable
from kipuka.authority.dogtag.wire.certificates import (
    CertificateRecord,
    certificate,
    certified_key,
    chain,
    found,
    in_order,
    key_digest,
    search_body,
)
from kipuka.authority.dogtag.wire.requests import (
    Input,
    RequestInfo,
    Review,
    Template,
    enrollment_body,
    listed,
    requested,
    review,
    subject_fields,
    submitted,
    template,
)
from kipuka.authority.dogtag.wire.revocation import revocation_body, withdrawn

__all__ = [
    "Answer",
    "CertificateRecord",
    "Input",
    "RequestInfo",
    "Review",
    "Template",
    "certificate",
    "certified_key",
    "chain",
    "enrollment_body",
    "found",
    "in_order",
    "key_digest",
    "listed",
    "message",
    "parse_id",
    "printable",
    "requested",
    "review",
    "revocation_body",
    "search_body",
    "subject_fields",
    "submitted",
    "template",
    "withdrawn",
]
