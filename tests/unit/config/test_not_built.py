"""Keys that are fixed but have nothing behind them: writing one is refused with that reason, never ignored."""

from __future__ import annotations

import pytest

from kipuka.config.explain import _section
from kipuka.config.load import parse
from kipuka.config.not_built import NOT_BUILT, NotBuilt, faults
from tests.unit.config.texts import DOGTAG_CA, HERE, MINIMAL, TLS, USERS, label
from tests.unit.config.texts import faults as load_faults

SERVER = "[server]\n{}\n" + MINIMAL
DOGTAG = TLS + DOGTAG_CA + "{}\n" + USERS
EST = MINIMAL + "{}\n"
LABEL = MINIMAL + label("{}")


@pytest.mark.parametrize(
    ("template", "written", "path"),
    [
        (SERVER, "workers = 2", "server.workers"),
        (DOGTAG, 'serverkeygen = "kra"', "ca[0].serverkeygen"),
        (DOGTAG, 'serverkeygen_profile = "x"', "ca[0].serverkeygen_profile"),
        (DOGTAG, 'cmc = "resign"', "ca[0].cmc"),
        (DOGTAG, 'cmc_profile = "x"', "ca[0].cmc_profile"),
        (DOGTAG, 'api = "v2"', "ca[0].api"),
        (DOGTAG, 'authority = "x"', "ca[0].authority"),
        (EST, "fullcmc = true", "est.fullcmc"),
        (EST, "serverkeygen = true", "est.serverkeygen"),
        (EST, "[est.cmc]", "est.cmc"),
        (LABEL, 'serverkeygen_encryption = "any"', "est.label[0].serverkeygen_encryption"),
        (LABEL, 'authority = "x"', "est.label[0].authority"),
    ],
)
def test_refused(template: str, written: str, path: str) -> None:
    (fault,) = load_faults(template.replace("{}", written))
    assert fault.startswith(f"{path}: not built yet: ")
    assert "remove this" in fault


def test_hsm() -> None:
    hsm = """
        [[ca]]
        id = "hsm"
        type = "hsm"
        cert = "ca.pem"
        module = "/usr/lib/pkcs11.so"
        token_label = "token"
        key_label = "key"
        pin = "env:PIN"
    """
    (fault,) = load_faults(MINIMAL + hsm)
    assert fault.startswith("ca[1].type: not built yet: CAs with their key in an HSM")


@pytest.mark.parametrize(
    ("template", "written"),
    [
        (SERVER, "workers = 1"),
        (EST, "fullcmc = false\nserverkeygen = false"),
        (EST, "[ha]\nenabled = false"),
        (DOGTAG, 'api = "v1"'),
        (DOGTAG, 'api = "auto"'),
    ],
)
def test_what_asks_for_nothing_may_be_written(template: str, written: str) -> None:
    assert parse(template.replace("{}", written), HERE).server.workers == 1


@pytest.mark.parametrize("entry", NOT_BUILT, ids=lambda entry: entry.key)
def test_every_entry_names_a_key_of_the_model(entry: NotBuilt) -> None:
    """A misspelt entry would refuse nothing, and nobody would notice."""
    *parents, key = entry.key.replace("[]", "").split(".")
    steps: list[str | int] = ["ca", 0] if parents == ["ca"] else [*parents]
    section = _section(steps, {"ca": [{"type": "dogtag"}]})
    assert key in section.model_fields


@pytest.mark.parametrize(
    "data", [{}, {"ca": 5, "est": []}, {"ca": {"cmc": 1}}, {"ca": [5, {}], "est": {"label": [None]}}]
)
def test_any_shape_is_survived(data: dict[str, object]) -> None:
    assert list(faults(data)) == []
