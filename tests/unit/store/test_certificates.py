"""kipuka.store.certificates in SQLite and PostgreSQL: the book of a CA and its CRL, one change at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from kipuka.store.certificates import Crl, Entry
from kipuka.store.store import Store
from tests.unit.store.places import NOW, Place, application

LATER = NOW + timedelta(days=365)
LONG = 2**159 + 1
FIRST = 1795435200123
"""NOW in milliseconds since 1970."""


def sign(number: int, entries: Sequence[Entry]) -> bytes:
    """Stands for a signature: what was to be signed."""
    return f"{number}:{','.join(f'{each.serial:x}={each.reason}' for each in entries)}".encode()


def test_a_certificate_is_added_marked_and_listed(store: Store) -> None:
    book = store.certificates
    book.add("a", LONG, "CN=device", LATER)
    book.add("a", 5, "CN=other", LATER)
    book.add("b", LONG, "CN=elsewhere", LATER)
    assert book.find("a", [LONG]) == [Entry(LONG, "CN=device", LATER)]
    assert book.find("a", [6]) == []
    assert {each.serial: each.subject for each in book.find("a", [6, LONG, 5])} == {5: "CN=other", LONG: "CN=device"}
    assert (book.crl("a"), book.crl_number("a")) == (None, 0)
    assert book.mark("a", LONG, None, 1, NOW, sign)
    assert book.find("a", [LONG]) == [Entry(LONG, "CN=device", LATER, NOW, 1)]
    assert book.find("b", [LONG]) == [Entry(LONG, "CN=elsewhere", LATER)]
    assert book.crl("a") == Crl(FIRST, f"{FIRST}:{LONG:x}=1".encode())
    assert book.crl("b") is None


def test_a_mark_on_what_has_changed_changes_nothing(store: Store) -> None:
    book = store.certificates
    book.add("a", 5, "CN=device", LATER)
    assert book.mark("a", 5, None, 6, NOW, sign)
    for before, after in ((None, 1), (1, None)):
        assert not book.mark("a", 5, before, after, NOW, sign)
    assert not book.mark("a", 6, None, 1, NOW, sign)
    assert book.crl("a") == Crl(FIRST, f"{FIRST}:5=6".encode())
    assert book.mark("a", 5, 6, None, NOW, sign)
    assert book.find("a", [5]) == [Entry(5, "CN=device", LATER)]
    assert book.crl("a") == Crl(FIRST + 1, f"{FIRST + 1}:".encode())


def test_a_crl_that_cannot_be_signed_leaves_all_as_it_was(store: Store) -> None:
    def fail(number: int, entries: Sequence[Entry]) -> bytes:
        raise ZeroDivisionError

    store.certificates.add("a", 5, "CN=device", LATER)
    with pytest.raises(ZeroDivisionError):
        store.certificates.mark("a", 5, None, 1, NOW, fail)
    assert store.certificates.find("a", [5]) == [Entry(5, "CN=device", LATER)]
    assert store.certificates.crl_number("a") == 0


def test_without_a_crl_it_is_marked_all_the_same(store: Store) -> None:
    store.certificates.add("a", 5, "CN=device", LATER)
    assert store.certificates.mark("a", 5, None, 1, NOW, None)
    assert store.certificates.crl("a") is None


def test_the_expired_leave_the_list_and_later_the_book(store: Store) -> None:
    book = store.certificates
    book.add("a", 5, "CN=device", NOW)
    book.mark("a", 5, None, 1, NOW, sign)
    for days, listed, known in ((1, True, True), (3, False, True), (31, False, True), (32, False, False)):
        at = NOW + timedelta(days=days)
        book.publish("a", at, sign, at - timedelta(days=1))
        crl = book.crl("a")
        assert crl is not None
        assert (b"5=1" in crl.der, book.find("a", [5]) != []) == (listed, known), days


def test_what_had_not_expired_at_the_last_list_stays_in_the_book(store: Store) -> None:
    """However late it is said to be: the clock may be wrong."""
    book = store.certificates
    book.add("a", 5, "CN=device", LATER)
    for last in (None, NOW):
        book.publish("a", LATER + timedelta(days=99), sign, last)
        assert book.find("a", [5]) == [Entry(5, "CN=device", LATER)]


def test_nobodys_revocation_is_missing_when_many_revoke_at_once(place: Place) -> None:
    """The last CRL has all of them, and each number was given once."""
    stores = [place.open() for _ in range(4)]
    for serial in range(1, 41):
        stores[0].certificates.add("a", serial, "CN=device", LATER)
    numbers: list[int] = []

    def noting(number: int, entries: Sequence[Entry]) -> bytes:
        numbers.append(number)
        return sign(number, entries)

    def work(position: int) -> None:
        for serial in range(1 + position, 41, 4):
            assert stores[position].certificates.mark("a", serial, None, 1, NOW, noting)

    threads = [threading.Thread(target=work, args=(position,)) for position in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    crl = stores[0].certificates.crl("a")
    assert crl is not None
    assert crl.number == FIRST + 39
    assert crl.der.count(b"=1") == 40
    assert sorted(numbers) == list(range(FIRST, FIRST + 40))


def test_the_number_of_a_crl_rises_also_after_an_older_copy_was_restored(place: Place) -> None:
    store = place.open()
    store.certificates.publish("a", NOW, sign)
    for _ in range(5):  # more of them than time goes by
        store.certificates.publish("a", NOW, sign)
    assert store.certificates.crl_number("a") == FIRST + 5
    store.certificates.publish("a", NOW - timedelta(days=1), sign)  # the clock was put back
    assert store.certificates.crl_number("a") == FIRST + 6
    place.sql(f"UPDATE crls SET number = {FIRST - 1000}")
    store.certificates.publish("a", NOW + timedelta(seconds=1), sign)
    assert store.certificates.crl("a") == Crl(FIRST + 1000, f"{FIRST + 1000}:".encode())
    place.sql("DELETE FROM crls")
    store.certificates.publish("a", NOW + timedelta(seconds=2), sign)
    assert store.certificates.crl_number("a") == FIRST + 2000


def test_enrollments_are_found_by_serial_number(store: Store) -> None:
    row = store.join(application(), NOW)
    store.move(row.id, {row.state}, row.state, NOW, serial=f"0x{LONG:x}")
    assert [each.id for each in store.of_serial(LONG)] == [row.id]
    assert store.of_serial(LONG + 1) == []
