"""Small checks that bind what is asked for to who asks; a label has a list of them, each with one reason to refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from cryptography import x509

from kipuka.access.identity import Caller, subject_text
from kipuka.access.pattern import Pattern
from kipuka.errors import Kind, RequestError
from kipuka.est.csr import CertificationRequest
from kipuka.est.keys import KeyType, describe

Check = Callable[[Caller, CertificationRequest], None]
"""Returns, or raises RequestError with the reason for the client."""

_LONGEST_ECHO = 80


def subject_pattern(pattern: str) -> Check:
    """Demand a subject: a regular expression for the whole effective subject as RFC 4514 text (``CN=dev1,O=Example``).

    Placeholders as in :class:`kipuka.access.pattern.Pattern`. RFC 4514 text starts with the last attribute of the DER,
    and attributes without a short name there are written as numbers (``2.5.4.5=...`` for serialNumber).

    :raises ValueError: when the pattern is not a regular expression.
    """
    wanted = Pattern(pattern)

    def check(caller: Caller, request: CertificationRequest) -> None:
        subject = request.effective_subject.rfc4514_string()
        if not wanted.matches(subject, caller):
            raise _refused(
                f'The subject "{_shown(subject)}" is not one you may ask for here: use the subject that the'
                " administrator has agreed with you."
            )

    return check


def san_pattern(pattern: str) -> Check:
    """Demand that every name in the SubjectAltName matches: a regular expression for the whole of ``DNS:host.example``.

    The other types are written ``IP:``, ``email:``, ``URI:``, ``DN:`` (RFC 4514), ``RID:`` and ``other:`` (the type's
    OID). Placeholders as for :func:`subject_pattern`. A request without names passes.

    :raises ValueError: when the pattern is not a regular expression.
    """
    wanted = Pattern(pattern)

    def check(caller: Caller, request: CertificationRequest) -> None:
        for name in request.effective_alternative or ():
            text = _general_name(name)
            if not wanted.matches(text, caller):
                raise _refused(
                    f'The subjectAltName "{_shown(text)}" is not one you may ask for here: use the names that the'
                    " administrator has agreed with you."
                )

    return check


def allowed_key_types(names: Iterable[str]) -> Check:
    """Demand a key of one of these types; see :data:`kipuka.est.keys.KEY_TYPES`.

    :raises ValueError: for an unknown name, or when there is none.
    """
    key_types = tuple(KeyType.parse(name) for name in names)
    if not key_types:
        raise ValueError("allowed_key_types needs at least one key type")
    allowed = " or ".join(key_type.name for key_type in key_types)

    def check(_: Caller, request: CertificationRequest) -> None:
        if not any(key_type.fits(request.public_key) for key_type in key_types):
            raise _refused(f"A key of type {describe(request.public_key)} is not allowed here: use {allowed}.")

    return check


def require_san() -> Check:
    """Demand a SubjectAltName."""

    def check(_: Caller, request: CertificationRequest) -> None:
        if request.effective_alternative is None:
            raise _refused("The request has no subjectAltName, which is required here: add one to the request.")

    return check


def allow(patterns: Iterable[str]) -> Check:
    """Let only some callers in: ``user:GLOB`` for HTTP users, ``certificate:GLOB`` for subjects as RFC 4514 text.

    One match is enough; without patterns nobody is let in. Case counts; ``*``, ``?`` and ``[...]`` as in a shell.

    :raises ValueError: for a pattern of another form.
    """
    globs: dict[str, list[str]] = {"user": [], "certificate": []}
    for pattern in patterns:
        kind, _, glob = pattern.partition(":")
        if kind not in globs or not glob:
            raise ValueError(f"{pattern!r} in allow is neither user:NAME nor certificate:SUBJECT")
        globs[kind].append(glob)

    def check(caller: Caller, _: CertificationRequest) -> None:
        user = caller.user
        subject = None if caller.certificate is None else subject_text(caller.certificate)
        if user is not None and any(fnmatchcase(user, glob) for glob in globs["user"]):
            return
        if subject is not None and any(fnmatchcase(subject, glob) for glob in globs["certificate"]):
            return
        raise _refused(
            f"{_shown(caller.name)} may not enroll here: ask the administrator to be allowed for this label."
        )

    return check


def _general_name(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.DirectoryName():
            return f"DN:{name.value.rfc4514_string()}"
        case x509.RegisteredID():
            return f"RID:{name.value.dotted_string}"
        case x509.OtherName():
            return f"other:{name.type_id.dotted_string}"
    return "unknown"


def _shown(text: str) -> str:
    """Make client-made text fit for a sentence: printable ASCII, not long."""
    plain = text.encode("unicode_escape").decode("ascii")
    return plain if len(plain) <= _LONGEST_ECHO else f"{plain[:_LONGEST_ECHO]}..."


def _refused(text: str) -> RequestError:
    return RequestError(Kind.FORBIDDEN, text)
