"""SIGHUP: the configuration is read and checked whole, and takes the place of the old one, or nothing does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from kipuka import service
from kipuka.assembly.descriptors import within_limits
from kipuka.assembly.foundation import Ask, Foundation
from kipuka.assembly.generation import Generation, generation
from kipuka.assembly.listener import Front
from kipuka.config import model
from kipuka.config.faults import ConfigFaults, Fault
from kipuka.config.inspect import inspect
from kipuka.config.material import MaterialError
from kipuka.enrollment.desk import Desk
from kipuka.errors import AuthorityError
from kipuka.observe.audit.record import AuditEvent, Record
from kipuka.tls import trial
from kipuka.tls.contexts import server_context, words

_log = Logger("kipuka")

AT_START = {"server": ("listen", "workers"), "admin": ("listen",), "db": ("url",), "audit": ("file", "syslog")}
"""Settings that are looked at when the daemon starts, by section: sockets, and files that only grow."""


class Reload:
    """Exchanges what serves a running daemon.

    :param read: reads the configuration file; it may block.
    :param current: what serves now.
    """

    def __init__(
        self,
        read: Callable[[], model.Config],
        current: Generation,
        base: Foundation,
        fronts: Sequence[Front],
        desk: Desk,
        ask: Ask | None,
        environ: Mapping[str, str],
    ) -> None:
        self._read = read
        self.current = current
        self._base = base
        self._fronts = fronts
        self._desk = desk
        self._ask = ask
        self._environ = environ
        self._turn = DeferredLock()

    async def __call__(self, daemon: service.EstService) -> None:
        """Do it, after the one before. What is wrong with the configuration is logged and audited."""
        await self._turn.acquire()
        try:
            await self._reload(daemon)
        finally:
            self._turn.release()

    async def _reload(self, daemon: service.EstService) -> None:
        reactor = self._base.reactor
        try:
            config, left = await deferToThreadPool(reactor, reactor.getThreadPool(), self._checked)
            new = generation(config, self._base, self._ask, lambda: bool(daemon.running), self.current.pools)
            for face in new.faces:
                server_context(face.tls)
            await new.lists.catch_up()
            if not daemon.running:
                return  # it has begun to end meanwhile, and says so in the audit as the last thing
        except ConfigFaults as faults:
            self._refused([str(fault) for fault in faults.faults])
        except (MaterialError, AuthorityError, OSError, ValueError, SSL.Error) as fault:
            self._refused([words(fault)])
        except Exception:
            _log.failure("reloading failed")
            self._refused(["something went wrong in kipuka, the log says what"])
        else:
            self.current = new
            self._base.change(config, new.names)
            daemon.patience = config.server.shutdown_timeout
            server = within_limits(config)
            for front, face in zip(self._fronts, new.faces, strict=True):
                front.show(face, new.lists, server)
            self._applied(left)
            self._base.rolls.see(new.rolls)
            # Not waited for: what polls a CA that hangs takes its time to end, and the next reload need not.
            changed = Deferred.fromCoroutine(self._desk.change(new.shift))
            changed.addErrback(lambda failure: _log.failure("the shift could not be changed", failure=failure))

    def _checked(self) -> tuple[model.Config, list[str]]:
        """Read the file, and look behind the words of what can be had of it now. Blocks.

        :raises ConfigFaults: all that is wrong with it.
        """
        wanted = self._read()
        config, left = without_restart(self.current.config, wanted)
        if faults := self._faults(config):
            if left and not self._faults(wanted):  # nothing in the file is to be mended
                text = "waits for a restart, and the rest of the file does not do without; restart kipuka instead"
                faults = [Fault(setting, text) for setting in left]
            raise ConfigFaults(faults)
        return config, left

    def _faults(self, config: model.Config) -> Sequence[Fault]:
        return inspect(config, datetime.now(UTC), trial, ask=self._ask, environ=self._environ)

    def _applied(self, left: Sequence[str]) -> None:
        for setting in left:
            _log.warn("{setting} has changed: that takes effect when kipuka is restarted", setting=setting)
        _log.info("the changed configuration is in force")
        reason = f"after a restart only: {', '.join(left)}" if left else None
        self._base.trail.note(Record(event=AuditEvent.RELOADED, outcome="applied", reason=reason))
        self._base.metrics.reloaded(well=True)

    def _refused(self, faults: Sequence[str]) -> None:
        for fault in faults:
            _log.error("the changed configuration is not used: {fault}", fault=fault)
        _log.error("kipuka goes on with the configuration it has: mend the file, then reload again")
        self._base.trail.note(Record(event=AuditEvent.RELOADED, outcome="refused", reason="; ".join(faults)))
        self._base.metrics.reloaded(well=False)


def without_restart(current: model.Config, wanted: model.Config) -> tuple[model.Config, list[str]]:
    """What can be had of a configuration without a restart, and the settings that cannot.

    Where the admin API is to be at another address all of it stays as it is: new administrators would find it at the
    old address, which may be the EST port for everybody.
    """
    left: list[str] = []
    changes: dict[str, Any] = {}
    at_start = dict(AT_START)
    if _admin_place(current) != _admin_place(wanted):
        at_start["admin"] = tuple(model.Admin.model_fields)
    for name, settings in at_start.items():
        old, new = getattr(current, name), getattr(wanted, name)
        stays = {setting: getattr(old, setting) for setting in settings}
        left += [f"{name}.{setting}" for setting, value in stays.items() if getattr(new, setting) != value]
        changes[name] = new.model_copy(update=stays)
    return wanted.model_copy(update=changes), left


def _admin_place(config: model.Config) -> tuple[bool, set[model.ListenAddress]]:
    """Whether the admin API is on the EST port, and where that is."""
    return config.admin_shares_port, set(config.admin.listen or config.server.listen)
