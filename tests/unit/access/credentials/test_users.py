"""The users file: which hashes are taken, which names, and that nobody can tell an unknown user."""

from __future__ import annotations

import argon2
import bcrypt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kipuka.access.credentials import users as module
from kipuka.access.credentials.users import Users, UsersFileError, hash_password, with_user, without_user
from kipuka.errors import Kind, RequestError

ARGON2ID = hash_password("p:q")
BCRYPT = bcrypt.hashpw(b"p:q", bcrypt.gensalt(4)).decode()


def refused(users: Users, name: str, password: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        users.verify(name, password)
    return caught.value


@pytest.mark.parametrize("hashed", [ARGON2ID, BCRYPT, BCRYPT.replace("$2b$", "$2y$")], ids=["argon2id", "2b", "2y"])
def test_auth_08_password_with_colons(hashed: str) -> None:
    users = Users.parse(f"u:{hashed}\n")
    users.verify("u", "p:q")
    assert refused(users, "u", "p").kind is Kind.UNAUTHENTICATED
    assert refused(users, "u", "").kind is Kind.UNAUTHENTICATED


def test_auth_08_password_in_utf_8() -> None:
    users = Users.parse(f"jürgen:{hash_password('päßword')}")
    users.verify("jürgen", "päßword")
    refused(users, "jürgen", "pässword")


def test_auth_07_empty_user_name() -> None:
    users = Users.parse(f":{ARGON2ID}\n")
    users.verify("", "p:q")
    refused(users, "x", "p:q")
    assert users.names == ("",)


def test_auth_09_unknown_user_and_wrong_password_look_the_same() -> None:
    users = Users.parse(f"u:{ARGON2ID}\n")
    unknown, wrong = refused(users, "nobody", "p:q"), refused(users, "u", "wrong")
    assert (unknown.kind, unknown.text, unknown.cause) == (wrong.kind, wrong.text, wrong.cause)


@pytest.mark.parametrize("name", ["u", "nobody"])
def test_auth_09_unknown_user_costs_the_same_work(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    users = Users.parse(f"u:{ARGON2ID}\n")
    checked = []
    matches = module._matches
    monkeypatch.setattr(module, "_matches", lambda *arguments: checked.append(arguments) or matches(*arguments))
    refused(users, name, "wrong")
    assert checked == [(ARGON2ID, b"wrong")]


def test_auth_09_unknown_users_are_spread_over_the_hashes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users.parse(f"a:{ARGON2ID}\nb:{BCRYPT}\n")
    checked = []
    monkeypatch.setattr(module, "_matches", lambda hashed, _: checked.append(hashed))
    for _ in range(2):
        for number in range(32):
            refused(users, f"nobody-{number}", "x")
    assert set(checked) == {ARGON2ID, BCRYPT}
    assert checked[:32] == checked[32:]  # the same name, the same work


def test_auth_09_empty_file_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users.parse("# nobody yet\n")
    checked = []
    matches = module._matches
    monkeypatch.setattr(module, "_matches", lambda *arguments: checked.append(arguments) or matches(*arguments))
    assert refused(users, "u", "").kind is Kind.UNAUTHENTICATED
    assert len(checked) == 1


def test_argon2_parameters_are_ours() -> None:
    assert hash_password("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_password("x") != hash_password("x")


@pytest.mark.parametrize(
    ("hashed", "said"),
    [
        ("$apr1$salt$kH0p4bqVd5j2uY7c3gTTN1", "Apache's MD5"),
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "MD5-crypt"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "unsalted SHA-1"),
        ("{ssha}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("$5$salt$x", "SHA-256-crypt"),
        ("$6$salt$x", "SHA-512-crypt"),
        ("rl.3StKT.4T8M", "DES crypt"),
        (ARGON2ID.replace("argon2id", "argon2i"), "argon2i or argon2d"),
        (ARGON2ID[:-30], "damaged argon2id"),
        (ARGON2ID.replace("v=19", "v=16"), "damaged argon2id"),
        (ARGON2ID.replace("m=19456", "m=9999999"), "more than 1 GiB"),
        (ARGON2ID.replace("t=2", "t=99"), "20 passes"),
        (ARGON2ID.replace("m=19456", "m=4"), "too little memory"),
        (ARGON2ID.replace("m=19456", "m=019456"), "damaged argon2id"),
        (ARGON2ID.replace("t=2", "t=0"), "damaged argon2id"),
        (BCRYPT.replace("$04$", "$31$"), "cost 31"),
        (BCRYPT[:-1], "damaged bcrypt"),
        (BCRYPT.replace("$2b$", "$2x$"), "damaged bcrypt"),
        (BCRYPT[:28] + "/" + BCRYPT[29:], "damaged bcrypt"),
        (BCRYPT[:-1] + "/", "damaged bcrypt"),
        ("plaintext-password", "expected an argon2id"),
        ("", "expected an argon2id"),
    ],
)
def test_hashes_refused(hashed: str, said: str) -> None:
    with pytest.raises(UsersFileError) as caught:
        Users.parse(f"# users\n\nu:{hashed}\n")
    (fault,) = caught.value.faults
    assert fault.startswith("line 3: ")
    assert said in fault
    if hashed:
        assert hashed not in fault


BASE64 = st.text("AQgwEx9/+", max_size=90)


@settings(deadline=None)
@given(salt=BASE64, digest=BASE64)
@example(salt="A" * 13, digest="A" * 22)
@example(salt="A" * 10 + "B", digest="A" * 22)
@example(salt="A" * 11, digest="A" * 25)
@example(salt="A" * 11, digest="A" * 21 + "B")
def test_a_hash_that_is_taken_can_be_checked(salt: str, digest: str) -> None:
    """Whoever is held against it: else one line would be an error of the server to every unknown user."""
    try:
        users = Users.parse(f"u:$argon2id$v=19$m=8,t=1,p=1${salt}${digest}\n")
    except UsersFileError:
        return
    for name in ("u", "nobody"):
        assert refused(users, name, "x").kind is Kind.UNAUTHENTICATED


@pytest.mark.parametrize("length", [16, 17, 18, 64])
def test_argon2id_of_other_programs_is_taken(length: int) -> None:
    """With other lengths of salt and hash."""
    other = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=length, salt_len=length)
    Users.parse(f"u:{other.hash('p:q')}\n").verify("u", "p:q")


def test_bcrypt_of_any_salt_is_taken() -> None:
    for _ in range(20):
        Users.parse(f"u:{bcrypt.hashpw(b'p:q', bcrypt.gensalt(4)).decode()}\n").verify("u", "p:q")


def test_every_bad_line_at_once() -> None:
    with pytest.raises(UsersFileError) as caught:
        Users.parse(f"alice\nbob:{ARGON2ID}\nbob:{BCRYPT}\n carol:{BCRYPT}\nda\u200bve:{BCRYPT}\na\x00b:{BCRYPT}")
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["line 1", "line 3", "line 4", "line 5", "line 6"]


def test_comments_blank_lines_and_crlf() -> None:
    users = Users.parse(f"# a:comment\r\n\r\n   \r\nu:{ARGON2ID}\r\n")
    assert users.names == ("u",)
    users.verify("u", "p:q")


def test_hashes_are_not_shown() -> None:
    users = Users.parse(f"u:{ARGON2ID}\n")
    assert ARGON2ID not in repr(users) + str(users)


@pytest.mark.parametrize("length", [71, 72, 73, 500])
def test_bcrypt_looks_at_72_bytes(length: int) -> None:
    """As the programs that make such hashes do; the releases of the bcrypt library differ on longer passwords."""
    hashed = bcrypt.hashpw(b"x" * min(length, 72), bcrypt.gensalt(4)).decode()
    users = Users.parse(f"u:{hashed}\n")
    users.verify("u", "x" * length)
    refused(users, "u", "x" * 70)


@pytest.mark.parametrize("hashed", [ARGON2ID, BCRYPT])
@pytest.mark.parametrize("password", ["a\0b", "\udc80", "x" * 10000])
def test_strange_passwords_are_wrong_passwords(hashed: str, password: str) -> None:
    assert refused(Users.parse(f"u:{hashed}"), "u", password).kind is Kind.UNAUTHENTICATED
    assert refused(Users.parse(f"u:{hashed}"), "\udc80", password).kind is Kind.UNAUTHENTICATED


@settings(deadline=None)
@given(st.text())
def test_parse_takes_it_or_says_why(text: str) -> None:
    try:
        users = Users.parse(text)
    except UsersFileError as error:
        assert error.faults
    else:
        assert all(":" not in name for name in users.names)


def test_with_user_keeps_everything_else() -> None:
    text = f"# first\n\na:{BCRYPT}\n# last"
    added = with_user(text, "b", ARGON2ID)
    assert added == f"# first\n\na:{BCRYPT}\n# last\nb:{ARGON2ID}\n"
    assert with_user(added, "a", ARGON2ID) == f"# first\n\na:{ARGON2ID}\n# last\nb:{ARGON2ID}\n"
    assert without_user(added, "b") == text + "\n"
    assert with_user("", "", ARGON2ID) == f":{ARGON2ID}\n"
    assert without_user(f":{ARGON2ID}\n", "") == ""


@pytest.mark.parametrize("name", ["a:b", "a\nb", "a\x7f", "a\x85b", " a", "a ", "#a", "a\u2028", "\ufeffa"])
def test_names_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a user name cannot"):
        with_user("", name, ARGON2ID)


@pytest.mark.parametrize("name", ["b", "", "# c", "#"])
def test_without_user_that_is_not_there(name: str) -> None:
    with pytest.raises(KeyError):
        without_user(f"# c:x\n#\n\na:{ARGON2ID}\n", name)
