"""The kinds of value a configuration holds: durations, sizes, paths, secrets, URLs, names.

Each is an annotated type for the models; its validator raises ValueError with a text made for the operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationInfo

from kipuka.access.pattern import Pattern
from kipuka.config.model import listen, syslog
from kipuka.config.secret import HOW_TO_NAME, Secret

T = TypeVar("T")

DIRECTORY = "directory"
"""Key of the validation context: the directory that relative paths start from."""


class Section(BaseModel):
    """A table of the configuration: nothing is converted silently, nothing unknown passes, nothing changes later."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def found(value: object) -> str:
    """Describe a value the way its writer thinks of it. Not for secrets."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case datetime() | date() | time():
            return "a date or time"
    return f"a {type(value).__name__}"


def text_of(value: object, expected: str) -> str:
    """Return the value if it is text.

    :param expected: what the operator should have written.
    :raises ValueError: it is not.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected {expected}, found {found(value)}")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def _directory(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get(DIRECTORY, "/"))


# --- durations and sizes

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_TEN_YEARS = 3650 * 86400


def parse_duration(value: object) -> int:
    """Read a duration: seconds as an integer, or text like "30s", "5m", "1h", "2d".

    :returns: seconds, at least 1 and at most ten years.
    :raises ValueError: anything else.
    """
    seconds = _quantity(value, _SECONDS, 'a duration: whole seconds, or text like "30s", "5m", "1h", "2d"')
    if not 1 <= seconds <= _TEN_YEARS:
        raise ValueError(f"expected a duration from 1 second to 3650 days, found {found(value)}")
    return seconds


def _an_hour(seconds: int) -> int:
    if seconds < _SECONDS["h"]:
        raise ValueError(f"expected at least 1 hour, found {seconds} seconds")
    return seconds


def parse_size(value: object) -> int:
    """Read a size: bytes as an integer, or text like "64KB", "10MB" (1 KB = 1024 bytes).

    :returns: bytes, at least 1 KB and at most 1 GB.
    :raises ValueError: anything else.
    """
    size = _quantity(value, _BYTES, 'a size: bytes, or text like "64KB", "10MB" (1 KB = 1024 bytes)')
    if not _BYTES["KB"] <= size <= _BYTES["GB"]:
        raise ValueError(f"expected a size from 1KB to 1GB, found {found(value)}")
    return size


def _quantity(value: object, units: Mapping[str, int], expected: str) -> int:
    match value:
        case bool():
            pass
        case int():
            return value
        case str() if (match := re.fullmatch(r"([0-9]{1,12})([A-Za-z]*)", value)) and match[2] in units:
            return int(match[1]) * units[match[2]]
    raise ValueError(f"expected {expected}; found {found(value)}")


Duration = Annotated[int, BeforeValidator(parse_duration)]
"""Seconds."""
AtLeastAnHour = Annotated[Duration, AfterValidator(_an_hour)]
Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes."""


# --- paths, secrets, addresses


def _path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    text = text_of(value, "the path of a file")
    if not text or "\0" in text:
        raise ValueError("expected the path of a file, found an empty or unusable one")
    return _directory(info) / text


def _secret(value: object, info: ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):  # and whatever it is, it may be the secret itself
        raise ValueError(f"expected {HOW_TO_NAME}")  # noqa: TRY004 - pydantic collects ValueErrors
    return Secret.parse(value, _directory(info))


def _listen(value: object) -> listen.ListenAddress:
    if isinstance(value, listen.TcpAddress | listen.SystemdSocket):
        return value
    return listen.parse(text_of(value, 'an address like "0.0.0.0:8443"'))


def _syslog(value: object) -> syslog.SyslogAddress:
    if isinstance(value, syslog.SyslogAddress):
        return value
    return syslog.parse(text_of(value, syslog.EXPECTED))


def _base_url(value: object) -> str:
    """Check the address of a server: https, a host, perhaps a port, and nothing else."""
    text = text_of(value, 'an address like "https://ca.example.com:8443"')
    try:
        url = urlsplit(text)
        has_host, port = bool(url.hostname), url.port
    except ValueError:
        raise ValueError('this is not a URL; expected one like "https://ca.example.com:8443"') from None
    if "@" in text:
        raise ValueError("the URL must not hold a user name or password; kipuka shows its agent certificate instead")
    if url.scheme != "https":
        raise ValueError(f'expected an https URL like "https://ca.example.com:8443", found {found(text)}')
    if not has_host or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError(f'expected a URL with a host name like "https://ca.example.com:8443", found {found(text)}')
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError(f'give the server alone, without a path such as /ca/rest: "https://{url.netloc}"')
    if url.netloc.endswith(":"):
        raise ValueError(f"there is no port after the colon, found {found(text)}")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    host = listen.parse_host(re.sub(":[0-9]+$", "", url.netloc))
    if "_" in host.partition("%")[0]:  # Twisted connects to none of these, though the system could
        raise ValueError(f'"{host}" cannot be connected to: there is no _ in the name of a server')
    return f"https://{url.netloc}"


_HOW_TO_NAME_A_DATABASE = '"sqlite:///FILE" or "postgresql://USER@HOST/NAME"'


def _database_url(value: object, info: ValidationInfo) -> str:
    """Check where the store is. The texts repeat nothing of it, for there may be a password in it."""
    if not isinstance(value, str) or not value.startswith(("sqlite:///", "postgresql://")):
        raise ValueError(f"expected {_HOW_TO_NAME_A_DATABASE}")
    if not value.isprintable():
        raise ValueError(f"a control character has no place in it; expected {_HOW_TO_NAME_A_DATABASE}")
    if value.startswith("sqlite:///"):
        path = value.removeprefix("sqlite:///")
        if path in {"", ":memory:"} or "?" in path:
            raise ValueError('expected the path of a file after "sqlite:///", and nothing after it')
        return f"sqlite:///{_directory(info) / path}"
    # A password with one of the marks that part a URL would be taken for a host or a database, and printed as such.
    if value.count("@") > 1 or "@" in value.removeprefix("postgresql://").partition("/")[2]:
        raise ValueError("write @ / ? # and % of a user name or password as %40 %2F %3F %23 %25")
    return value


FilePath = Annotated[Path, PlainValidator(_path)]
"""Absolute; a relative one is relative to the configuration file."""
SecretReference = Annotated[Secret, PlainValidator(_secret)]
Syslog = Annotated[syslog.SyslogAddress, PlainValidator(_syslog)]
Listen = Annotated[listen.ListenAddress, PlainValidator(_listen)]
DatabaseUrl = Annotated[str, PlainValidator(_database_url)]
"""``sqlite:///`` and an absolute path, or ``postgresql://...`` for libpq. May hold a password."""
BaseUrl = Annotated[str, PlainValidator(_base_url)]
"""``https://host[:port]``, no slash at the end."""


# --- names and lists


def _matching(pattern: str, expected: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        text = text_of(value, expected)
        if not compiled.fullmatch(text):
            raise ValueError(f"expected {expected}, found {found(text)}")
        return text

    return check


Identifier = Annotated[
    str,
    PlainValidator(
        _matching(r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,64}", "a name of letters, digits and - _ . ~ (at most 64)")
    ),
]
"""The name of a CA, label or group: RFC 3986's unreserved characters, so that it can stand in a URL as it is."""
ProfileName = Annotated[
    str,
    PlainValidator(_matching(r"[A-Za-z0-9_.-]{1,128}", "the id of a certificate profile (letters, digits and - _ .)")),
]
Text = Annotated[str, PlainValidator(_matching(r"[^\x00-\x1f\x7f]{1,1000}", "text in one line"))]


def name_pattern(*placeholders: str) -> Callable[[object], str]:
    """Make what checks a regular expression for a whole name.

    :param placeholders: what it may hold besides.
    """

    def check(value: object) -> str:
        pattern = text_of(value, "a regular expression")
        Pattern(pattern, placeholders)
        return pattern

    return check


SubjectPattern = Annotated[str, PlainValidator(name_pattern())]
"""A regular expression for a whole subject."""


def _as_tuple(value: object) -> object:
    """TOML has lists; frozen models hold tuples."""
    return tuple(value) if isinstance(value, list) else value


def _one_or_many(value: object) -> object:
    """One value where a list is due is a list of one."""
    return value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else (value,)


def _distinct(value: tuple[T, ...]) -> tuple[T, ...]:
    for position, item in enumerate(value):
        if item in value[:position]:
            raise ValueError(f"{item} stands in this list twice")
    return value


AsTuple: Any = BeforeValidator(_as_tuple)
OneOrMany: Any = BeforeValidator(_one_or_many)
Distinct: Any = AfterValidator(_distinct)
