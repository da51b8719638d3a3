"""The audit line: each security-relevant event once, as one line of JSON.

JSON escapes line breaks and control characters, so a name in a certificate cannot forge a line of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from twisted.logger import Logger

Audit = Callable[[str, Mapping[str, object]], None]
"""Takes the name of an event and its facts. Facts hold no secrets, no keys and no CSR bytes."""


_log = Logger("kipuka.audit")


def to_log(event: str, facts: Mapping[str, object]) -> None:
    """Write one record to the daemon's log; facts that are None are left out."""
    record = {"event": event} | {name: value for name, value in facts.items() if value is not None}
    _log.info("{record}", record=json.dumps(record, default=str))
