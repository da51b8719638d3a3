"""A reload that is overtaken by the end of the daemon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from kipuka.assembly import reloading
from kipuka.config.model import Config


class Lists:
    """The CRLs of a generation: they are still being fetched when the daemon begins to end."""

    def __init__(self) -> None:
        self.caught_up: Deferred[None] = Deferred()

    async def catch_up(self) -> None:
        await self.caught_up


def test_nothing_is_exchanged_once_the_daemon_has_begun_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reading: Deferred[tuple[Config, list[str]]] = Deferred()
    new = SimpleNamespace(faces=(), lists=Lists())
    monkeypatch.setattr(reloading, "deferToThreadPool", lambda *_: reading)
    monkeypatch.setattr(reloading, "generation", lambda *_: new)
    notes: list[object] = []
    current, base, desk, daemon = (
        cast("Any", SimpleNamespace(**each))
        for each in (
            {"config": None, "pools": None},
            {"reactor": SimpleNamespace(getThreadPool=lambda: None), "trail": SimpleNamespace(note=notes.append)},
            {"change": lambda _: pytest.fail("the shift was changed")},
            {"running": 1},
        )
    )
    reload = reloading.Reload(lambda: pytest.fail("read again"), current, base, [], desk, None, {})
    ended: list[object] = []
    Deferred.fromCoroutine(reload(daemon)).addBoth(ended.append)
    reading.callback((cast("Any", None), []))
    daemon.running = 0
    new.lists.caught_up.callback(None)
    assert ended == [None]
    assert reload.current is current
    assert notes == []
