"""The audit line: each security-relevant event once, as one line of JSON.

JSON escapes line breaks and control characters, so a name in a certificate cannot forge a line of its own.
"""

from __future__ import annotations

import json
import syslog
from collections.abc import Callable, Mapping

from twisted.logger import Logger

Audit = Callable[[str, Mapping[str, object]], None]
"""Takes the name of an event and its facts. Facts hold no secrets, no keys and no CSR bytes."""


_log = Logger("kipuka.audit")


def to_log(event: str, facts: Mapping[str, object]) -> None:
    """Write one record to the daemon's log; facts that are None are left out."""
    _log.info("{record}", record=_line(event, facts))


def to_syslog(event: str, facts: Mapping[str, object]) -> None:
    """Write one record of what was done beside the daemon, by a command, to the system's log."""
    syslog.openlog("kipuka", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_NOTICE, _line(event, facts))


def _line(event: str, facts: Mapping[str, object]) -> str:
    record = {"event": event} | {name: value for name, value in facts.items() if value is not None}
    return json.dumps(record, default=str)
