"""The users of HTTP Basic: a file of ``name:hash`` lines, hashes being argon2id or bcrypt.

A line that is empty or begins with ``#`` is skipped. The name may be empty (RFC 7030 §3.2.3: a secret that belongs to
nobody in particular); it holds no colon (RFC 7617 §2) and no control character.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

import argon2
import bcrypt

from kipuka.errors import Kind, RequestError

# OWASP's Password Storage Cheat Sheet, first choice of memory below 20 MiB: 19 MiB, two passes, one lane. Set here, for
# argon2-cffi's own defaults differ between its releases; little memory, for many devices may log in at once.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16)

# The last characters of salt and hash have bits to spare. Where one of them is set, no password matches.
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
_BCRYPT_MAX_BYTES = 72
"""bcrypt looks at no more; the programs that make such files cut longer passwords off here."""
_BCRYPT_COSTS = range(4, 17)
_NUMBER = r"([1-9][0-9]{0,8})"
_ARGON2ID = re.compile(
    rf"\$argon2id\$v=19\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\$([A-Za-z0-9+/]{{11,86}})\$([A-Za-z0-9+/]{{22,86}})"
)

LONGEST = 768
"""Bytes of ``name:password`` in UTF-8, in the file and at the door; 1024 characters in an Authorization field."""

_REFUSED = (
    (re.compile(r"\$apr1\$"), "Apache's MD5 (apr1)"),
    (re.compile(r"\$1\$"), "MD5-crypt"),
    (re.compile(r"\{SHA\}", re.IGNORECASE), "unsalted SHA-1"),
    (re.compile(r"\{SSHA\}", re.IGNORECASE), "SHA-1"),
    (re.compile(r"\$5\$"), "SHA-256-crypt"),
    (re.compile(r"\$6\$"), "SHA-512-crypt"),
    (re.compile(r"\$argon2[di]\$"), "argon2i or argon2d"),
    (re.compile(r"\$argon2id\$"), "a damaged argon2id hash or one of an old version"),
    (re.compile(r"\$2[abxy]?\$"), "a damaged bcrypt hash or one of an old version"),
    (re.compile(r"[./A-Za-z0-9]{13}\Z"), "DES crypt"),
)
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control and format characters, half characters, line ends."""


class UsersFileError(Exception):
    """The file cannot be used; ``faults`` has one sentence for each bad line, never with a hash in it."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Users:
    """Who may log in with HTTP Basic. Immutable; a changed file is parsed into a new one."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)
        # What an unknown user is held against: the file's own hashes, so that the work is of the same kind.
        self._decoys = tuple(self._hashes.values()) or (_lonely_decoy(),)

    @classmethod
    def parse(cls, text: str) -> Users:
        """Read a users file.

        :raises UsersFileError: with every line that cannot be used, not only the first.
        """
        hashes: dict[str, str] = {}
        faults = []
        for number, line in enumerate(_lines(text), start=1):
            if _is_comment(line):
                continue
            try:
                name, hashed = _entry(line)
            except ValueError as error:
                faults.append(f"line {number}: {error}")
                continue
            if name in hashes:
                faults.append(f'line {number}: the user "{name}" stands in this file twice')
            hashes[name] = hashed
        if faults:
            raise UsersFileError(faults)
        return cls(hashes)

    @property
    def names(self) -> tuple[str, ...]:
        """The users' names, in the file's order."""
        return tuple(self._hashes)

    @property
    def roll(self) -> dict[str, str]:
        """Each user's name, as a person is shown it, and the hash."""
        return {f'"{name}"': hashed for name, hashed in self._hashes.items()}

    def verify(self, name: str, password: str) -> None:
        """Let the user in. Blocks for some tens of milliseconds: call it in a thread.

        An unknown name costs the same as a known one. Which of the file's hashes it is held against depends on the
        name alone, so that asking again does not show that the time varies.

        :raises RequestError: UNAUTHENTICATED; the same for an unknown name as for a wrong password.
        """
        secret = password.encode("utf-8", "surrogatepass")
        known = self._hashes.get(name)
        if known is None:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
            _matches(self._decoys[int.from_bytes(digest) % len(self._decoys)], secret)
        elif _matches(known, secret):
            return
        raise wrong_credentials()


def wrong_credentials() -> RequestError:
    """Return the one answer to credentials that do not fit, whatever it is that is wrong with them."""
    return RequestError(Kind.UNAUTHENTICATED, "The user name or the password is wrong: check both and try again.")


def hash_password(password: str) -> str:
    """Hash a password with argon2id. Blocks as :meth:`Users.verify` does."""
    return _HASHER.hash(password.encode())


@cache
def _lonely_decoy() -> str:
    """Return a hash to hold unknown users against when the file has none."""
    return hash_password("")


def check_name(name: str) -> None:
    """Check that a user can have this name.

    :raises ValueError: it has a colon, a control character, outer blanks, or reads as a comment.
    """
    if ":" in name:
        raise ValueError("a user name cannot hold a colon")
    if any(unicodedata.category(character) in _INVISIBLE for character in name):
        raise ValueError("a user name cannot hold control characters or other invisible ones")
    if name != name.strip():
        raise ValueError("a user name cannot begin or end with a blank")
    if name.startswith("#"):
        raise ValueError("a user name cannot begin with #, for such a line is a comment")


def check_password(name: str, password: str) -> None:
    """Check that a user of this name could log in with this password.

    :raises ValueError: it is empty, too long, or has characters that HTTP Basic does not carry (RFC 7617 §2). The text
        repeats nothing of it.
    """
    if not password:
        raise ValueError("the password is empty")
    categories = {unicodedata.category(character) for character in password}
    if "Cs" in categories:  # what Python makes of bytes that are not UTF-8
        raise ValueError("the password is not UTF-8 text")
    if "Cc" in categories:
        raise ValueError("a password cannot hold control characters")
    if len(f"{name}:{password}".encode()) > LONGEST:
        raise ValueError(f"user name and password together are longer than {LONGEST - 1} bytes of UTF-8")


def with_user(text: str, name: str, hashed: str) -> str:
    """Return the file's text with this user added, or their hash replaced; everything else stays as it is.

    :raises ValueError: the name cannot be a user's.
    """
    check_name(name)
    lines = _lines(text)
    entry = f"{name}:{hashed}"
    if any(_is_entry_of(line, name) for line in lines):
        lines = [entry if _is_entry_of(line, name) else line for line in lines]
    else:
        lines.append(entry)
    return "\n".join(lines) + "\n"


def without_user(text: str, name: str) -> str:
    """Return the file's text without this user.

    :raises KeyError: there is no such user.
    """
    lines = _lines(text)
    kept = [line for line in lines if not _is_entry_of(line, name)]
    if len(kept) == len(lines):
        raise KeyError(name)
    return "".join(f"{line}\n" for line in kept)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _entry(line: str) -> tuple[str, str]:
    name, colon, hashed = line.partition(":")
    if not colon:
        raise ValueError("expected NAME:HASH")
    check_name(name)
    _check_hash(hashed.strip())
    return name, hashed.strip()


def _is_comment(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _is_entry_of(line: str, name: str) -> bool:
    return not _is_comment(line) and ":" in line and line.partition(":")[0] == name


def _check_hash(hashed: str) -> None:
    if (match := _ARGON2ID.fullmatch(hashed)) and all(map(_is_base64, match.group(4, 5))):
        memory, passes, lanes = (int(number) for number in match.group(1, 2, 3))
        if not (8 * lanes <= memory <= 1024 * 1024 and 1 <= passes <= 20 and 1 <= lanes <= 16):
            raise ValueError(
                "the argon2id hash asks for more than 1 GiB, 20 passes or 16 lanes, or for too little memory"
            )
        return
    if match := _BCRYPT.fullmatch(hashed):
        if int(match[1]) not in _BCRYPT_COSTS:
            raise ValueError(f"bcrypt with cost {int(match[1])}: expected a cost from 4 to 16; set the password again")
        return
    for pattern, kind in _REFUSED:
        if pattern.match(hashed):
            raise ValueError(
                f"the hash is {kind}; only argon2id and bcrypt are taken: set the password with kipuka user add"
            )
    raise ValueError("expected an argon2id ($argon2id$...) or bcrypt ($2b$... or $2y$...) hash after the colon")


def _is_base64(text: str) -> bool:
    """Whether it is what its octets are written as, without padding; argon2 decodes nothing else."""
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64encode(base64.b64decode(padded)).decode() == padded
    except binascii.Error:
        return False


def _matches(hashed: str, password: bytes) -> bool:
    if hashed.startswith("$2"):
        try:
            return bcrypt.checkpw(password[:_BCRYPT_MAX_BYTES], hashed.encode())
        except ValueError:  # a NUL in the password, which bcrypt cannot hash
            return False
    try:
        return _HASHER.verify(hashed, password)
    except argon2.exceptions.VerifyMismatchError:
        return False
