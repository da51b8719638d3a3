"""Bearer tokens of administrators' programs (RFC 6750): a file of ``NAME SCOPES CREATED HASH`` lines.

A line that is empty or begins with ``#`` is skipped. The hash is one pass of SHA-256, without salt: a token is 256
random bits that nobody chose, so there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from kipuka.errors import Kind, RequestError

PREFIX = "kipuka_"
"""What a token begins with, so that scanners for secrets find one that has strayed."""
_RANDOM_BYTES = 32
_TOKEN = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Scope(Enum):
    """What a token allows."""

    READ = "read"
    """Look at everything; change nothing."""
    REVOKE = "revoke"
    """Revoke certificates and end enrollments."""


class TokensFileError(Exception):
    """The file cannot be used; ``faults`` has one sentence for each bad line, never with a hash in it."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True)
class Token:
    """What is kept of a token; the token itself is not.

    :param created: aware, to the second.
    """

    name: str
    scopes: frozenset[Scope]
    created: datetime
    hashed: str = field(repr=False)

    def line(self) -> str:
        """The token's line in the file."""
        return f"{self.name} {names_of(self.scopes)} {time_text(self.created)} {self.hashed}"


class Tokens:
    """Which tokens are good. Immutable; a changed file is parsed into a new one."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._tokens = tuple(tokens)

    def __iter__(self) -> Iterator[Token]:
        return iter(self._tokens)

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Read a tokens file.

        :raises TokensFileError: with every line that cannot be used, not only the first.
        """
        tokens: dict[str, Token] = {}
        faults = []
        for number, line in enumerate(text.splitlines(), start=1):
            if _is_comment(line):
                continue
            try:
                token = _token(line)
            except ValueError as error:
                faults.append(f"line {number}: {error}")
                continue
            if token.name in tokens:
                faults.append(f'line {number}: the token "{token.name}" stands in this file twice')
            tokens[token.name] = token
        if faults:
            raise TokensFileError(faults)
        return cls(tokens.values())

    @property
    def roll(self) -> dict[str, str]:
        """Each token's name and scopes, as a person is shown them, and its hash."""
        return {f"{token.name} ({names_of(token.scopes)})": token.hashed for token in self._tokens}

    def get(self, name: str) -> Token | None:
        """The token of this name."""
        return next((token for token in self._tokens if token.name == name), None)

    def verify(self, presented: str) -> Token:
        """Return the token that was presented. Takes the same time whichever it is, and if it is none.

        :raises RequestError: UNAUTHENTICATED.
        """
        hashed = hash_token(presented) if _TOKEN.fullmatch(presented) else ""
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.hashed, hashed):
                found = token
        if found is None:
            raise wrong_token()
        return found


def wrong_token() -> RequestError:
    """Return the one answer to a token that is not good, whatever is wrong with it."""
    return RequestError(
        Kind.UNAUTHENTICATED, "The bearer token is not one of this server's: check it, or ask for a new one."
    )


def new_token() -> str:
    """Make a token."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hash_token(token: str) -> str:
    """What the file keeps of a token."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def check_name(name: str) -> None:
    """Check that a token can have this name.

    :raises ValueError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{name}" cannot be the name of a token: use 1 to 64 letters, digits and - _ . ~')


def with_token(text: str, token: Token) -> str:
    """Return the file's text with this token added; everything else stays as it is."""
    return "".join(f"{line}\n" for line in [*text.splitlines(), token.line()])


def without_token(text: str, name: str) -> str:
    """Return the file's text without this token.

    :raises KeyError: there is no such token.
    """
    lines = text.splitlines()
    kept = [line for line in lines if _is_comment(line) or line.split()[0] != name]
    if len(kept) == len(lines):
        raise KeyError(name)
    return "".join(f"{line}\n" for line in kept)


def names_of(scopes: Iterable[Scope]) -> str:
    """Scopes as the file has them: ``read,revoke``."""
    return ",".join(sorted(scope.value for scope in scopes))


def time_text(time: datetime) -> str:
    """A time as the files of tokens have it, in UTC to the second."""
    return time.astimezone(UTC).strftime(_TIME)


def read_time(text: str) -> datetime:
    """Read what :func:`time_text` wrote.

    :raises ValueError: it is no such time.
    """
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def _is_comment(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _token(line: str) -> Token:
    match line.split():
        case [name, scopes, created, hashed]:
            pass
        case _:
            raise ValueError("expected NAME SCOPES CREATED HASH, as kipuka token add writes it")
    check_name(name)
    if not _HASH.fullmatch(hashed):
        raise ValueError("expected sha256: and 64 hexadecimal digits as the hash; make the token anew")
    known = {scope.value: scope for scope in Scope}
    wanted = scopes.split(",")
    if unknown := [each for each in wanted if each not in known]:
        raise ValueError(f'there is no scope "{unknown[0]}"; known are {" and ".join(known)}')
    try:
        made = read_time(created)
    except ValueError:
        raise ValueError(f'"{created[:40]}" is not a time like 2026-01-31T12:00:00Z') from None
    return Token(name, frozenset(known[each] for each in wanted), made, hashed)
