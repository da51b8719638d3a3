"""A reload that is overtaken by the end of the daemon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from kipuka.assembly import reloading
from kipuka.config.model import Config


def test_nothing_is_exchanged_once_the_daemon_has_begun_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    reading: Deferred[Config] = Deferred()
    monkeypatch.setattr(reloading, "deferToThreadPool", lambda *_: reading)
    monkeypatch.setattr(reloading, "generation", lambda *args: built.append(args))
    current, base, daemon = (
        cast("Any", SimpleNamespace(**each))
        for each in (
            {"config": None},
            {"reactor": SimpleNamespace(getThreadPool=lambda: None)},
            {"running": 1},
        )
    )
    reload = reloading.Reload(lambda: pytest.fail("read again"), current, base, [], cast("Any", None), None, {})
    over = Deferred.fromCoroutine(reload(daemon))
    daemon.running = 0
    reading.callback(cast("Any", None))
    assert over.called
    assert (built, reload.current) == ([], current)
    over.addErrback(lambda failure: pytest.fail(str(failure)))
