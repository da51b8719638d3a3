"""Any sequence of calls does to a database what it does to a dictionary."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kipuka.store.rows import OPEN, Enrollment, State
from kipuka.store.store import Store
from tests.unit.store.places import NOW, SECOND, application, empty

AT_CA = (State.SUBMITTING, State.UNKNOWN)
STATES = st.sampled_from(State)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "process": st.none() | st.sampled_from(["p1", "p2"]),
        "serial": st.none() | st.just("0x1"),
        "reason": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
        "certificate": st.none() | st.binary(max_size=5),
    },
)
STEPS = settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))


class Machine(RuleBasedStateMachine):
    """Calls the store and does the same to ``rows``, ``leases`` and ``seen``."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        empty(self.store)
        self.now = NOW
        self.rows: dict[int, Enrollment] = {}
        self.leases: dict[str, tuple[str, Any]] = {}
        self.seen: dict[str, Any] = {}

    @rule(seconds=st.integers(1, 100))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(number=st.integers(1, 3))
    def join(self, number: int) -> None:
        wanted = application(number, ca=f"ca-{number % 2}")
        got = self.store.join(wanted, self.now)
        mine = [row for row in self.rows.values() if row.application.key == wanted.key and row.state in OPEN]
        if mine:
            (row,) = mine
            if row.state is State.RECEIVED:
                self.rows[row.id] = replace(row, updated=self.now)
            assert got == self.rows[row.id]
        else:
            assert got.id not in self.rows
            assert got == Enrollment(got.id, wanted, State.RECEIVED, self.now, self.now)
            self.rows[got.id] = got

    @precondition(lambda self: self.rows)
    @rule(
        pick=st.randoms(use_true_random=False),
        expected=st.sets(st.sampled_from(sorted(OPEN, key=str))),
        to=STATES,
        changes=CHANGES,
    )
    def move(self, pick: random.Random, expected: set[State], to: State, changes: dict[str, Any]) -> None:
        row = self.rows[pick.choice(sorted(self.rows))]
        if to is State.DELIVERED:
            changes = changes | {"delivered": self.now}
        got = self.store.move(row.id, expected, to, self.now, **changes)
        if row.state in expected:
            self.rows[row.id] = replace(row, state=to, updated=self.now, **changes)
            assert got == self.rows[row.id]
        else:
            assert got is None

    @rule(age=st.integers(0, 100))
    def clean(self, age: int) -> None:
        before = self.now - age * SECOND
        out = {each.application.public_key for each in self.rows.values() if each.state in AT_CA}
        closed = [row for row in self.rows.values() if row.state is State.CLOSED and row.updated < before]
        old = [row.id for row in closed if row.application.public_key not in out]
        assert self.store.clean(before) == len(old)
        for number in old:
            del self.rows[number]
        self.seen = {process: when for process, when in self.seen.items() if when >= before}

    @rule(name=st.sampled_from("xy"), holder=st.sampled_from("ab"), seconds=st.integers(1, 50))
    def lease(self, name: str, holder: str, seconds: int) -> None:
        owner, until = self.leases.get(name, (holder, self.now))
        may_have = owner == holder or until <= self.now
        assert self.store.lease(name, holder, self.now, seconds) is may_have
        if may_have:
            self.leases[name] = (holder, self.now + timedelta(seconds=seconds))

    @rule(name=st.sampled_from("xy"), holder=st.sampled_from("ab"))
    def release(self, name: str, holder: str) -> None:
        self.store.release(name, holder)
        if name in self.leases and self.leases[name][0] == holder:
            del self.leases[name]

    @rule(process=st.sampled_from(["p1", "p2"]))
    def beat(self, process: str) -> None:
        self.store.beat(process, self.now)
        self.seen[process] = self.now

    @invariant()
    def is_the_same(self) -> None:
        rows = [self.rows[number] for number in sorted(self.rows)]
        assert self.store.page(limit=1000) == rows[::-1]
        recent = self.now - 50 * SECOND
        assert sorted(self.store.changed(recent), key=lambda row: row.id) == [r for r in rows if r.updated >= recent]
        some = {State.RECEIVED, State.PENDING, State.UNKNOWN}
        ours = [row for row in rows if row.application.ca_id == "ca-1" and row.state in some]
        assert self.store.in_states("ca-1", some) == ours
        alive = {process for process, when in self.seen.items() if when >= recent}
        assert self.store.orphans(recent) == [
            row for row in rows if row.state is State.SUBMITTING and row.process not in alive
        ]
        assert self.store.counts() == {state: sum(row.state is state for row in rows) for state in State}


def test_like_a_dictionary(store: Store) -> None:
    machine = type("MachineHere", (Machine,), {"store": store})
    run_state_machine_as_test(machine, settings=STEPS)
