"""Where Dogtag keeps each operation: it depends on the version, and on what stands in front of it.

Each operation has an ordered list of candidates. 10.x to 11.5 serve ``/ca/rest``; since 11.6 the same API lives at
``/ca/v1`` and ``/ca/rest`` is a rewrite rule that a site may lack. The candidate that answered is tried first from
then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from urllib.parse import quote


class Operation(Enum):
    """What kipuka asks of a CA. The value is the key under ``paths`` in the configuration."""

    CHAIN = "chain"
    """The CA's certificate and what leads to its root."""
    TEMPLATE = "template"
    """The form of a profile; ``{profile}`` stands for its name."""
    ENROLL = "enroll"
    REQUEST = "request"
    """How a submitted request stands; ``{id}`` stands for its number."""
    REQUESTS = "requests"
    """The agent's list of requests; kipuka adds a query."""
    REVIEW = "review"
    """A request with its CSR, as an agent sees it; ``{id}`` stands for its number."""
    CERTIFICATE = "certificate"
    """One certificate by serial number; ``{id}`` stands for it."""
    SEARCH = "search"
    """Search of certificates; kipuka adds a query."""
    CERTIFICATE_REVIEW = "certificate-review"
    """One certificate as an agent sees it, with a nonce; ``{id}`` stands for its serial number."""
    REVOKE = "revoke"
    """Revocation; ``{id}`` stands for the serial number."""
    UNREVOKE = "unrevoke"
    """Release from hold; ``{id}`` stands for the serial number."""
    PROBE = "probe"
    """What shows that the CA works; ``{id}``, if it is there, stands for the serial number of its own certificate."""


V1: Mapping[Operation, tuple[str, ...]] = {
    Operation.CHAIN: ("/ca/rest/config/cert/signing", "/ca/v1/config/cert/signing", "/ca/rest/certs/ca"),
    Operation.TEMPLATE: ("/ca/rest/certrequests/profiles/{profile}", "/ca/v1/certrequests/profiles/{profile}"),
    Operation.ENROLL: ("/ca/rest/certrequests", "/ca/v1/certrequests"),
    Operation.REQUEST: ("/ca/rest/certrequests/{id}", "/ca/v1/certrequests/{id}"),
    Operation.REQUESTS: ("/ca/rest/agent/certrequests", "/ca/v1/agent/certrequests"),
    Operation.REVIEW: ("/ca/rest/agent/certrequests/{id}", "/ca/v1/agent/certrequests/{id}"),
    Operation.CERTIFICATE: ("/ca/rest/certs/{id}", "/ca/v1/certs/{id}"),
    Operation.SEARCH: ("/ca/rest/certs/search", "/ca/v1/certs/search"),
    Operation.CERTIFICATE_REVIEW: ("/ca/rest/agent/certs/{id}", "/ca/v1/agent/certs/{id}"),
    Operation.REVOKE: ("/ca/rest/agent/certs/{id}/revoke", "/ca/v1/agent/certs/{id}/revoke"),
    Operation.UNREVOKE: ("/ca/rest/agent/certs/{id}/unrevoke", "/ca/v1/agent/certs/{id}/unrevoke"),
    Operation.PROBE: ("/ca/rest/certs/{id}", "/ca/v1/certs/{id}", "/ca/rest/certs/ca"),
}
"""The API of 10.x, still served by 11.x."""

_PLACEHOLDERS = {
    Operation.TEMPLATE: "{profile}",
    Operation.REQUEST: "{id}",
    Operation.REVIEW: "{id}",
    Operation.CERTIFICATE: "{id}",
    Operation.CERTIFICATE_REVIEW: "{id}",
    Operation.REVOKE: "{id}",
    Operation.UNREVOKE: "{id}",
    Operation.PROBE: "{id}",
}
_MAY_LACK_IT = {Operation.PROBE}


class Paths:
    """The candidates of one CA.

    :param table: operation to paths, the likeliest first.
    :param overrides: the configuration's ``paths``: operation name to the one path to use.
    :raises ValueError: an override names no operation, does not start with "/" or lacks its placeholder.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None, table: Mapping[Operation, tuple[str, ...]] = V1):
        self._candidates = dict(table)
        for name, path in (overrides or {}).items():
            self._candidates[_operation(name)] = (_checked(_operation(name), path),)

    def candidates(self, operation: Operation, value: str = "") -> tuple[str, ...]:
        """Return the paths to try, in that order; ``value`` goes where the placeholder is."""
        placeholder = _PLACEHOLDERS.get(operation)
        paths = self._candidates[operation]
        return tuple(path.replace(placeholder, quote(value, safe="")) if placeholder else path for path in paths)

    def answered(self, operation: Operation, position: int) -> None:
        """Note which of :meth:`candidates` exists at this CA, by its position there."""
        if position:
            paths = list(self._candidates[operation])
            paths.insert(0, paths.pop(position))
            self._candidates[operation] = tuple(paths)


def _operation(name: str) -> Operation:
    try:
        return Operation(name)
    except ValueError:
        known = ", ".join(each.value for each in Operation)
        raise ValueError(f"{name}: not an operation of Dogtag that kipuka uses; known are {known}") from None


def _checked(operation: Operation, path: str) -> str:
    placeholder = _PLACEHOLDERS.get(operation)
    if not path.startswith("/"):
        raise ValueError(f"{operation.value}: the path must start with / and not name the server")
    if placeholder and placeholder not in path and operation not in _MAY_LACK_IT:
        raise ValueError(f"{operation.value}: the path must contain {placeholder}")
    return path
