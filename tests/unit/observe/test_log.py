"""The log in JSON: one line an event, whatever is in it."""

from __future__ import annotations

import io
import json
from contextvars import copy_context
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python import log as legacy
from zope.interface.verify import verifyObject

from kipuka.observe import log as module
from kipuka.observe.context import reference


def logged(message: str, level: LogLevel = LogLevel.info, **fields: object) -> dict[str, Any]:
    """What becomes of one message."""
    stream = io.StringIO()
    publisher = LogPublisher(module.to_stream(stream))
    Logger("kipuka.test", observer=publisher).emit(level, message, **fields)
    (line,) = stream.getvalue().splitlines(keepends=True)
    assert line.endswith("\n")
    assert line.isascii()
    record: dict[str, Any] = json.loads(line)
    return record


def test_a_message() -> None:
    record = logged("{address} asked for {path!r} {status}", address="192.0.2.7", path=b"/caf\xe9", status=200)
    time = record.pop("time")
    assert time[10] == "T"
    assert time.endswith("Z")
    assert len(time) == len("2026-11-23T10:00:00.000000Z")
    assert record == {
        "level": "info",
        "logger": "kipuka.test",
        "message": "192.0.2.7 asked for b'/caf\\xe9' 200",
        "fields": {"address": "192.0.2.7", "path": "/caf\\xe9", "status": 200},
    }


def test_the_time_is_utc() -> None:
    record = json.loads(module.line({"log_format": "x", "log_time": 0.25, "log_level": LogLevel.warn}))
    assert record["time"] == "1970-01-01T00:00:00.250000Z"
    assert record["level"] == "warn"


def test_a_failure_is_one_line_with_its_traceback() -> None:
    stream = io.StringIO()
    log = Logger("kipuka.test", observer=LogPublisher(module.to_stream(stream)))
    with log.failuresHandled("it failed"):
        raise ValueError("first line\nsecond line")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert (record["level"], record["message"], record["error"]) == ("critical", "it failed", "ValueError")
    assert "Traceback" in record["traceback"]
    assert "second line" in record["traceback"]


def test_the_reference_of_the_request() -> None:
    context = copy_context()
    context.run(reference.set, "05fe2e9a")
    assert context.run(logged, "x")["reference"] == "05fe2e9a"
    assert "reference" not in logged("x")
    record = context.run(logged, "of another: {reference}", reference="11111111")
    assert record["reference"] == "11111111"
    assert "fields" not in record


def test_what_the_message_does_not_name_is_not_shown() -> None:
    record = logged("{name}", name=["a", "list"], password="secret", request=object())
    assert "fields" not in record
    assert "secret" not in json.dumps(record)


def test_a_message_that_is_one_field_is_said_once() -> None:
    assert "fields" not in logged("{record}", record='{"event": "enrollment"}')


def test_no_message_is_too_long() -> None:
    record = logged("{a}{b}", a="x" * 100_000, b="y")
    assert len(record["message"]) == len(record["fields"]["a"]) == 16 * 1024


def test_a_format_that_cannot_be_used_is_a_line_all_the_same() -> None:
    assert logged("{missing}")["message"]
    assert logged("{unclosed")["message"]
    assert logged("{0}")["message"]


@given(st.text(), st.binary(), st.one_of(st.integers(), st.floats(), st.booleans(), st.none()))
def test_whatever_is_logged_is_one_line(text: str, raw: bytes, value: object) -> None:
    record = logged("{text} {raw} {value}", text=text, raw=raw, value=value)
    assert record["fields"]["text"] == text


def test_old_log_messages_too() -> None:
    stream = io.StringIO()
    observer = module.to_stream(stream)
    globalLogPublisher.addObserver(observer)
    try:
        legacy.msg("from old code\nin two lines")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert json.loads(stream.getvalue())["message"] == "from old code\nin two lines"


def test_what_twistd_is_given() -> None:
    verifyObject(ILogObserver, module.json())
