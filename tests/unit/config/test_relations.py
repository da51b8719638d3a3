"""Labels, groups and ways to authenticate: what has to fit together across tables."""

from __future__ import annotations

import pytest

from kipuka.authority.dogtag.rest.paths import Operation, Paths
from kipuka.config.load import parse
from kipuka.config.model.ca import OPERATIONS, DogtagCa
from tests.unit.config.texts import DOGTAG_CA, FILE_CA, HERE, MINIMAL, TLS, USERS, faults, label

EST_OPERATIONS = ["cacerts", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen", "csrattrs"]
CERTIFICATES = '[tls.client_auth]\ntrust_anchors = "clients.pem"\n'


@pytest.mark.parametrize("name", EST_OPERATIONS)
def test_uri_06_label_must_not_be_an_operation(name: str) -> None:
    (fault,) = faults(MINIMAL + label(name=name))
    assert fault.startswith(f'est.label[0].name: "{name}" is an operation of EST')


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a%2Fb", "ä", "a\\u0000", "x" * 65])
def test_uri_08_label_names_are_plain(name: str) -> None:
    (fault,) = faults(MINIMAL + label(name=name))
    assert fault.startswith("est.label[0].name: a label is made of letters, digits and - _ . ~")


@pytest.mark.parametrize("name", ["a", "Server-TLS_1.2~x", "...", "CACERTS"])
def test_uri_04_label_names(name: str) -> None:
    assert parse(MINIMAL + label(name=name), HERE).est.label[0].name == name


def test_duplicates() -> None:
    text = MINIMAL + FILE_CA + label() + label(name="b") + label()
    assert faults(text) == [
        'ca[1].id: "local" is already the id of ca[0]; choose another',
        'est.label[2].name: "lab" is already the name of est.label[0]; choose another',
    ]


def test_groups() -> None:
    text = (
        MINIMAL
        + """
        [[ha.group]]
        name = "pool"
        ca_ids = ["local", "locale"]
        [[ha.group]]
        name = "pool"
        ca_ids = ["local", "local"]
        [[ha.group]]
        name = "local"
        ca_ids = []
    """
    )
    found = set(faults(text))
    assert found > {
        'ha.group[1].name: "pool" is already the name of ha.group[0]; choose another',
        'ha.group[2].name: "local" is already the id of a CA; a group needs a name of its own',
        'ha.group[0].ca_ids[1]: there is no CA "locale"; did you mean "local"?',
        "ha.group[1].ca_ids: local stands in this list twice",
        "ha.group[2].ca_ids: at least one entry is needed",
    }


def test_label_needs_a_known_ca() -> None:
    (fault,) = faults(MINIMAL + label(ca_id="locla"))
    assert fault == 'est.label[0].ca_id: there is no CA or group "locla"; did you mean "local"?'


def test_default_label() -> None:
    label = '[[est.label]]\nname = "strict"\nca_id = "local"\n'
    est = parse(MINIMAL + 'default_label = "strict"\n' + label, HERE).est
    assert est.default_label == "strict"
    (fault,) = faults(MINIMAL + 'default_label = "strct"\n' + label)
    assert fault.startswith('est.default_label: there is no label "strct"')
    both = 'default_label = "strict"\ndefault_ca = "local"\n'
    assert parse(MINIMAL + both + label, HERE).default_ca == "local"
    (fault,) = faults(TLS + FILE_CA + DOGTAG_CA + USERS + both.replace("local", "dogtag") + label)
    assert fault == 'est.default_ca: the label "strict" of est.default_label has CA "local"; remove this key'


def test_default_ca() -> None:
    assert parse(TLS + FILE_CA + DOGTAG_CA + USERS + 'default_ca = "dogtag"\n', HERE).default_ca == "dogtag"
    (fault,) = faults(MINIMAL + 'default_ca = "nowhere"\n')
    assert fault == 'est.default_ca: there is no CA or group "nowhere"; known are: local'


def test_profile_only_where_there_are_profiles() -> None:
    (fault,) = faults(MINIMAL + label('dogtag_profile = "x"'))
    assert fault == 'est.label[0].dogtag_profile: CA "local" is of type "file" and has no profiles; remove this key'
    config = parse(TLS + DOGTAG_CA + USERS + label('dogtag_profile = "x"', ca_id="dogtag"), HERE)
    assert config.est.label[0].dogtag_profile == "x"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (TLS + FILE_CA, "est"),
        (TLS + "[tls.client_auth]\ntrust_anchors = []\n" + FILE_CA, "est"),
        (TLS + CERTIFICATES + 'mode = "none"\n' + FILE_CA, "est"),
        (MINIMAL + '[tls.client_auth]\nmode = "required"\n', "tls.client_auth.mode"),
        (MINIMAL + '[tls.client_auth]\ncrl = "crl.pem"\n', "tls.client_auth.crl"),
        (TLS + CERTIFICATES + FILE_CA + label('auth = ["certificate", "basic"]'), "est.label[0].auth"),
        (TLS + CERTIFICATES + FILE_CA + label('auth = ["certificate+basic"]'), "est.label[0].auth"),
        (MINIMAL + label('auth = ["certificate"]'), "est.label[0].auth"),
        (
            TLS + CERTIFICATES + 'mode = "none"\n' + FILE_CA + USERS + label('auth = ["certificate"]'),
            "est.label[0].auth",
        ),
        (MINIMAL + label('trust_anchors = "own.pem"'), "est.label[0].trust_anchors"),
        (
            MINIMAL + CERTIFICATES + 'mode = "none"\n' + label('trust_anchors = "clients.pem"'),
            "est.label[0].trust_anchors",
        ),
    ],
)
def test_ways_to_authenticate_that_nobody_could_use(text: str, path: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    [
        TLS + CERTIFICATES + FILE_CA + label(),  # the default ways, one of which is set up
        MINIMAL + label(),
        MINIMAL + label('auth = ["basic"]'),
        TLS + CERTIFICATES + FILE_CA + USERS + label('auth = ["certificate+basic", "certificate"]'),
        TLS + FILE_CA + "[est]\nenabled = false\n",
    ],
)
def test_ways_to_authenticate(text: str) -> None:
    assert parse(text, HERE).default_ca == "local"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("auth = []", "auth: at least one"),
        ('auth = ["password"]', 'auth[0]: expected "certificate", "basic" or "certificate+basic"; found "password"'),
        ('auth = ["basic", "basic"]', "auth: basic stands in this list twice"),
        ('subject_pattern = "CN=("', "subject_pattern: this is not a regular expression"),
        ('subject_pattern = "CN={users}"', "subject_pattern: unknown placeholder {users}"),
        ('subject_pattern = "CN=(?P<{user}>x)"', "subject_pattern: this is not a regular expression"),
        ('san_pattern = "DNS:a{99999999999}"', "san_pattern: this is not a regular expression: a number"),
        ("subject_pattern = 5", "subject_pattern: expected a regular expression"),
        ('allowed_key_types = ["rsa-1024"]', "allowed_key_types[0]: unknown key type 'rsa-1024'"),
        ('allowed_key_types = ["EC", "ec"]', "allowed_key_types: ec stands in this list twice"),
        ("allow = []", "allow: at least one"),
        ('allow = ["alice"]', 'allow[0]: expected "user:NAME" or "certificate:SUBJECT"'),
        ('csr_attributes = ["no such thing"]', "csr_attributes[0]: unknown attribute"),
        ('allowed_key_types = ["rsa"]\ncsr_attributes = ["ecPublicKey:secp256r1"]', " more than one key type"),
        ("line_wrap = 65", 'line_wrap: expected "auto", "none", 64 or 76; found the number 65'),
        ("line_wrap = true", "line_wrap: expected"),
        ('proof_of_possession = "always"', "proof_of_possession: expected"),
    ],
)
def test_label_values_refused(lines: str, said: str) -> None:
    (fault,) = faults(MINIMAL + label(lines))
    assert fault.startswith("est.label[0]")
    assert said in fault


def test_label_values() -> None:
    lines = r"""
        subject_pattern = 'CN=({user}|{cn}|x{2,3}),O=\{y\}'
        allowed_key_types = ["EC-P256", "rsa"]
        allow = ["user:*", "certificate:CN=?*,O=x"]
        csr_attributes = ["1.2.840.113549.1.9.7", "2.5.4.5:2.5.4.3,2.5.4.4"]
        line_wrap = 64
        trust_anchors = "own.pem"
    """
    (found,) = parse(MINIMAL + CERTIFICATES + label(lines), HERE).est.label
    assert found.allowed_key_types == ("ec-p256", "rsa")
    assert found.allow == ("user:*", "certificate:CN=?*,O=x")
    assert found.line_wrap == 64
    assert found.trust_anchors == (HERE / "own.pem",)


def test_a_label_whose_trust_anchors_are_none_is_not_open_to_all() -> None:
    (fault,) = faults(MINIMAL + CERTIFICATES + label("trust_anchors = []"))
    assert fault == "est.label[0].trust_anchors: at least one entry is needed"


def test_paths_name_the_operations_that_dogtag_has() -> None:
    """The table in config.ca is the one of authority.dogtag.paths, placeholders included."""
    assert set(OPERATIONS) == {operation.value for operation in Operation}
    Paths({operation: f"/x/{placeholder or ''}" for operation, placeholder in OPERATIONS.items()})
    for operation, placeholder in OPERATIONS.items():
        if placeholder:
            with pytest.raises(ValueError, match=operation):
                Paths({operation: "/x"})


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ('enrol = "/x"', 'there is no operation "enrol"'),
        ('enroll = "x"', 'starts with "/"'),
        ('enroll = "/x y"', 'starts with "/"'),
        ('certificate = "/x"', "must hold {id}"),
        ("enroll = 5", "expected text"),
    ],
)
def test_paths_refused(paths: str, said: str) -> None:
    (fault,) = faults(TLS + DOGTAG_CA + f"[ca.paths]\n{paths}\n" + USERS)
    assert fault.startswith("ca[0].paths")
    assert said in fault


CLONE = DOGTAG_CA.replace('"dogtag"', '"clone"', 1)
PAIR = MINIMAL + DOGTAG_CA + CLONE


def pool(members: str = '"dogtag", "clone"', name: str = "pool") -> str:
    return f'[[ha.group]]\nname = "{name}"\nca_ids = [{members}]\n'


def test_a_label_and_the_default_may_name_a_group() -> None:
    text = PAIR.replace("[est]", '[est]\ndefault_ca = "pool"') + "[ha]\nenabled = true\n" + pool()
    config = parse(text + label('dogtag_profile = "x"', ca_id="pool"), HERE)
    assert (config.default_ca, config.est.label[0].ca_id) == ("pool", "pool")


def test_the_first_group_is_the_default() -> None:
    assert parse(PAIR + "[ha]\nenabled = true\n" + pool(), HERE).default_ca == "pool"
    assert parse(PAIR + "[ha]\nenabled = false\n" + pool(), HERE).default_ca == "local"


def test_a_group_of_one_is_a_clone_less_for_a_while() -> None:
    assert parse(PAIR + "[ha]\nenabled = true\n" + pool('"dogtag"'), HERE).ha.group


def test_a_ca_belongs_to_one_group_at_most() -> None:
    text = PAIR + "[ha]\nenabled = true\n" + pool() + pool('"clone"', "other")
    assert faults(text) == [
        'ha.group[1].ca_ids[0]: CA "clone" is in ha.group[0] already; a CA belongs to one group at most'
    ]


def test_only_a_dogtag_has_clones() -> None:
    text = PAIR + "[ha]\nenabled = true\n" + pool('"dogtag", "local"')
    assert faults(text) == [
        'ha.group[0].ca_ids[1]: CA "local" is of type "file"; a group is made of clones of one Dogtag CA'
    ]


@pytest.mark.parametrize("switch", ["", "[ha]\nenabled = false\n"])
def test_a_group_that_is_switched_off_cannot_be_named(switch: str) -> None:
    text = PAIR.replace("[est]", '[est]\ndefault_ca = "pool"') + switch + pool() + label(ca_id="pool")
    assert faults(text) == [
        'est.default_ca: the group "pool" is switched off; set ha.enabled = true, or name one of its CAs',
        'est.label[0].ca_id: the group "pool" is switched off; set ha.enabled = true, or name one of its CAs',
    ]


def test_pools_need_a_group() -> None:
    text = MINIMAL + "[ha]\nenabled = true\n"
    assert faults(text) == ["ha.enabled: there is no [[ha.group]] to switch on; add one, or remove this key"]


@pytest.mark.parametrize(
    ("lines", "path", "said"),
    [
        ('kra_agent_cert = "a.pem"\nkra_agent_key = "b.pem"', "ca[0].kra_agent_cert", "no effect without kra_url"),
        ('kra_url = "https://kra"\nkra_agent_cert = "a.pem"', "ca[0].kra_agent_cert", "set kra_agent_key too"),
        ('kra_url = "https://kra"\nkra_agent_key = "b.pem"', "ca[0].kra_agent_key", "set kra_agent_cert too"),
        ('kra_url = "https://kra"\nkra_agent_key_passphrase = "env:X"', "ca[0].kra_agent_key_passphrase", "an agent"),
    ],
)
def test_an_agent_at_the_kra_is_whole_and_has_a_kra(lines: str, path: str, said: str) -> None:
    (fault,) = faults(TLS + DOGTAG_CA + lines + USERS)
    assert fault.startswith(f"{path}: ")
    assert said in fault


def test_a_kra_needs_no_agent_of_its_own() -> None:
    (ca,) = parse(TLS + DOGTAG_CA + 'kra_url = "https://kra"\ntps_url = "https://tps:8443"' + USERS, HERE).ca
    assert isinstance(ca, DogtagCa)
    assert (ca.kra_url, ca.kra_agent_cert, ca.tps_url) == ("https://kra", None, "https://tps:8443")


def test_health_for_tokens_needs_somebody_to_have_one() -> None:
    (fault,) = faults(MINIMAL + '[admin]\nhealth = "token"\n')
    assert fault.startswith('admin.health: "token" needs somebody to have one')
    for who in ('tokens = "tokens"', 'trust_anchors = "ca.pem"'):
        assert parse(f'{MINIMAL}[admin]\nhealth = "token"\n{who}\n', HERE).admin.is_on


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("subjects = 'CN=a'", "admin.subjects: has no effect without admin.trust_anchors"),
        ("trust_anchors = []\nsubjects = 'CN=a'", "admin.subjects: has no effect without admin.trust_anchors"),
        ("trust_anchors = 'ca.pem'\nsubjects = []", "admin.subjects: at least one"),
        ("trust_anchors = 'ca.pem'\nsubjects = 'CN=('", "admin.subjects[0]: this is not a regular expression"),
        ("trust_anchors = 'ca.pem'\nsubjects = ['CN=a', 'CN={user}']", "admin.subjects[1]: unknown placeholder {user}"),
    ],
)
def test_subjects_of_administrators(lines: str, expected: str) -> None:
    (fault,) = faults(f"{MINIMAL}[admin]\n{lines}\n")
    assert fault.startswith(expected)
