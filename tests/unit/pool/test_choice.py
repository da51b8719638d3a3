from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipuka.authority.pool.choice import Candidate, Choice, InOrder, LeastConnections, RoundRobin


def picks(choice: Choice, candidates: list[Candidate], number: int) -> list[str]:
    return [choice.pick(candidates) for _ in range(number)]


def test_in_order_always_takes_the_first() -> None:
    assert set(picks(InOrder(), [Candidate("a", in_flight=99), Candidate("b")], 5)) == {"a"}


@given(st.integers(1, 5), st.integers(1, 200))
def test_round_robin_gives_everybody_the_same_to_within_one(members: int, number: int) -> None:
    counted = Counter(picks(RoundRobin(), [Candidate(str(n)) for n in range(members)], number))
    assert max(counted.values()) - min(counted.get(str(n), 0) for n in range(members)) <= 1


def test_round_robin_follows_the_weights() -> None:
    counted = Counter(picks(RoundRobin(), [Candidate("a"), Candidate("b", weight=0.1)], 110))
    assert counted == {"a": 100, "b": 10}


def test_one_that_comes_back_has_no_turns_to_make_up_for() -> None:
    choice, both = RoundRobin(), [Candidate("a"), Candidate("b")]
    picks(choice, both[:1], 1000)
    assert Counter(picks(choice, both, 20)) == {"a": 10, "b": 10}


def test_least_connections_takes_the_least_busy() -> None:
    assert LeastConnections().pick([Candidate("a", 5), Candidate("b", 2), Candidate("c", 7)]) == "b"


def test_least_connections_takes_equals_in_turn() -> None:
    assert Counter(picks(LeastConnections(), [Candidate("a", 3), Candidate("b", 3)], 10)) == {"a": 5, "b": 5}


def test_least_connections_counts_a_request_of_one_that_comes_back_for_more() -> None:
    returning = Candidate("a", in_flight=0, weight=0.1)
    assert LeastConnections().pick([returning, Candidate("b", in_flight=5)]) == "b"
    assert LeastConnections().pick([returning, Candidate("b", in_flight=15)]) == "a"


@pytest.mark.parametrize("choice", [InOrder(), RoundRobin(), LeastConnections()])
@given(
    candidates=st.lists(
        st.builds(Candidate, st.sampled_from("abcd"), st.integers(0, 100), st.floats(0.1, 1)),
        min_size=1,
        unique_by=lambda each: each.id,
    )
)
def test_whoever_is_chosen_was_a_candidate(choice: Choice, candidates: list[Candidate]) -> None:
    assert choice.pick(candidates) in {each.id for each in candidates}
