"""The log as one JSON object a line, for programs that collect logs: ``twistd --logger kipuka.observe.log.json``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from json import dumps
from string import Formatter
from typing import IO, Any

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

from kipuka.observe.context import reference

_LONGEST = 16 * 1024
"""Characters of a message or a field; of a traceback the last ones are kept, for there it says what failed."""


def json() -> ILogObserver:
    """What twistd's ``--logger`` takes: makes the observer that writes to standard output.

    twistd redirects ``sys.stdout`` into the log, so the stream is taken now, before it does.
    """
    return to_stream(sys.stdout)


def to_stream(stream: IO[Any]) -> ILogObserver:
    """An observer that writes to a stream, and flushes after each line."""
    return FileLogObserver(stream, line)


def line(event: LogEvent) -> str:
    """One event as a line of JSON, line break included.

    ASCII only, and every control character escaped: nothing that a client sent can make a line or end one.
    """
    text = formatEvent(event)
    level = event.get("log_level") or LogLevel.info
    record: dict[str, object] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0), UTC).isoformat(timespec="microseconds")[:-6] + "Z",
        "level": level.name,
        "logger": str(event.get("log_namespace", "")),
        "message": text[:_LONGEST],
    }
    request = event.get("reference", reference.get(None))
    if request:
        record["reference"] = str(request)
    fields = {name: value for name, value in _fields(event) if name != "reference" and value != text}
    if fields:
        record["fields"] = fields
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        record["error"] = failure.type.__name__ if failure.type is not None else "Failure"
        record["traceback"] = failure.getTraceback()[-_LONGEST:]
    return dumps(record) + "\n"


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """The facts that the message is made of, and no others: an event may carry objects that nobody means to show."""
    try:
        named = [name for _, name, _, _ in Formatter().parse(event.get("log_format") or "") if name]
    except ValueError:  # not a format that can be read; formatEvent has said so in the message
        return
    for name in named:
        match event.get(name):
            case bool() | int() | float() as number:
                yield name, number
            case str() as text:
                yield name, text[:_LONGEST]
            case bytes() as raw:
                yield name, raw[:_LONGEST].decode("ascii", "backslashreplace")
            case _:
                pass  # it is in the message, in whatever words the format has for it
