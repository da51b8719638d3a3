"""The CAs' certificates in the store."""

from __future__ import annotations

from kipuka.store.store import Store
from tests.unit.store.places import NOW, SECOND, Place


def test_there_is_nothing_before_it_is_kept(store: Store) -> None:
    assert store.chains.kept("ca") is None


def test_the_last_chain_of_each_ca_is_kept(place: Place, store: Store) -> None:
    store.chains.keep("ca", "first", NOW)
    store.chains.keep("other", "another", NOW)
    store.chains.keep("ca", "second", NOW + SECOND)
    again = place.open()
    assert (again.chains.kept("ca"), again.chains.kept("other")) == ("second", "another")


def test_the_same_chain_is_not_written_again(place: Place, store: Store) -> None:
    store.chains.keep("ca", "same", NOW)
    first = place.sql("SELECT fetched FROM ca_chains")
    store.chains.keep("ca", "same", NOW + SECOND)
    assert place.sql("SELECT fetched FROM ca_chains") == first
