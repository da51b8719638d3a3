"""What a reload can change, what is known after it, and that nobody is asked for passphrases then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from kipuka.assembly.cas.pools import Pools, pools
from kipuka.assembly.foundation import Passphrases
from kipuka.assembly.reloading import AT_START, without_restart
from kipuka.authority.interface import Authority
from kipuka.authority.pool import Status
from kipuka.config.load import build
from kipuka.config.material import MaterialError
from kipuka.config.model import Config
from kipuka.errors import AuthorityError, Kind

AWAY = AuthorityError(Kind.UNREACHABLE, "away")


def config(group: Mapping[str, object] | None = None, **tables: Mapping[str, object]) -> Config:
    agent = {"agent_cert": "a", "agent_key": "k", "ca_cert": "c", "type": "dogtag", "profile": "p"}
    cas = [agent | {"id": name, "url": f"https://{name}.example:8443"} for name in ("one", "two")]
    ha = {"enabled": True, "group": [{"name": "pool", "ca_ids": ["one", "two"]} | dict(group or {})]}
    tables["est"] = {"users": "users"} | dict(tables.get("est", {}))
    return build({"tls": {"cert": "c", "key": "k"}, "ca": cas, "ha": ha} | tables, Path("/etc/kipuka"))


class Ca:
    """A CA that can be watched and is not asked anything."""

    def __init__(self, id: str) -> None:  # noqa: A002 - the interface's word
        self.id = id

    async def probe(self) -> None:
        """Nothing to say."""


def grouped(which: Config, before: Pools | None = None) -> Pools:
    cas = {ca.id: cast("Authority", Ca(ca.id)) for ca in which.ca}
    return pools(which, cas, {}, Clock(), lambda _: None, before)


def struck(found: Pools) -> Pools:
    """As it is after "one" has failed as often as it takes."""

    async def fail() -> None:
        raise AWAY

    for _ in range(3):
        Deferred.fromCoroutine(found.cas["one"].vitals.probe(fail)).addErrback(lambda _: None)
    return found


def test_what_is_known_of_a_ca_stays_known() -> None:
    before = struck(grouped(config()))
    assert before.health()["one"].status is Status.CIRCUIT_OPEN
    after = grouped(config(est={"retry_after": 5}), before)
    assert after.health()["one"].status is Status.CIRCUIT_OPEN
    assert not after.members["one"].is_used


@pytest.mark.parametrize("group", [{"failure_threshold": 9}, {"success_threshold": 9}, {"name": "other"}])
def test_judged_by_other_rules_a_ca_is_judged_anew(group: Mapping[str, object]) -> None:
    after = grouped(config(group), struck(grouped(config())))
    assert after.health()["one"].status is not Status.CIRCUIT_OPEN


def test_both_generations_queues_are_sent_away_when_a_ca_goes() -> None:
    before = grouped(config())
    after = grouped(config(), before)
    assert set(after.cas["one"].vitals.queues) == {before.members["one"], after.members["one"]}


def test_what_is_looked_at_when_the_daemon_starts_stays_and_is_named() -> None:
    current = config()
    wanted = config(
        server={"listen": "127.0.0.1:1", "idle_timeout": 7},
        db={"url": "sqlite:////other.db", "keep": "1h"},
        admin={"listen": "127.0.0.1:2", "tokens": "tokens"},
        audit={"file": "audit.json"},
    )
    settled, left = without_restart(current, wanted)
    assert left == ["server.listen", "admin.listen", "admin.tokens", "db.url", "audit.file"]
    assert settled.server == current.server.model_copy(update={"idle_timeout": 7})
    assert settled.db == current.db.model_copy(update={"keep": 3600})
    assert settled.admin == current.admin
    assert settled.audit == current.audit


PUBLIC, INSIDE = "0.0.0.0:8443", "127.0.0.1:9443"


@pytest.mark.parametrize(
    ("current", "wanted", "moves"),
    [
        ((PUBLIC, None), (PUBLIC, INSIDE), True),
        ((PUBLIC, INSIDE), (PUBLIC, None), True),
        ((PUBLIC, None), (INSIDE, None), True),  # the API with EST, both elsewhere
        ((PUBLIC, PUBLIC), (INSIDE, PUBLIC), True),  # EST moves away from it
        ((PUBLIC, INSIDE), ("0.0.0.0:443", INSIDE), False),
        ((PUBLIC, None), (PUBLIC, PUBLIC), False),
    ],
)
def test_who_may_administrate_waits_with_the_address(
    current: tuple[str, str | None], wanted: tuple[str, str | None], *, moves: bool
) -> None:
    """Else new administrators find the API where it was, and where it was not to be."""

    def listening(addresses: tuple[str, str | None], **admin: object) -> Config:
        own = {} if addresses[1] is None else {"listen": addresses[1]}
        return config(server={"listen": addresses[0]}, admin=own | admin)

    settled, left = without_restart(listening(current), listening(wanted, tokens="tokens", health="token"))
    assert settled.admin.is_on is not moves
    assert {"admin.tokens", "admin.health"} <= set(left) if moves else "admin.tokens" not in left


def test_nothing_is_left_when_nothing_such_has_changed() -> None:
    wanted = config(est={"retry_after": 5})
    assert without_restart(config(), wanted) == (wanted, [])


def test_the_settings_exist() -> None:
    for section, settings in AT_START.items():
        assert set(settings) <= set(type(getattr(config(), section)).model_fields)


def test_a_passphrase_is_asked_for_once_and_never_after_the_start() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "secret"

    passphrases = Passphrases(ask)
    assert [passphrases("Passphrase of a: "), passphrases("Passphrase of a: ")] == ["secret", "secret"]
    passphrases.ask_no_more()
    assert passphrases("Passphrase of a: ") == "secret"
    with pytest.raises(MaterialError, match='nobody can be asked for "Passphrase of b" while kipuka runs'):
        passphrases("Passphrase of b: ")
    assert asked == ["Passphrase of a: "]
    assert "secret" not in repr(cast("Any", passphrases))
