"""Every configuration that we print works as printed, and every key is in the reference and in conf/kipuka.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kipuka.config.explain import _sections
from kipuka.config.load import ConfigFaults, build, load, parse
from kipuka.config.model import Config
from kipuka.config.model.ca import TYPES
from kipuka.config.model.fields import Section

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "configuration.md"
COMPLETE = ROOT / "conf" / "kipuka.toml"
EXAMPLES = ROOT / "conf" / "examples"

DOCUMENTS = sorted([*(ROOT / "docs").glob("**/*.md"), *ROOT.glob("*.md")])
BLOCKS = [
    pytest.param(block, id=f"{document.relative_to(ROOT)}:{number}")
    for document in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"^```toml\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL), 1
    )
]
NEEDED: dict[str, Any] = {
    "tls": {"cert": "tls.pem", "key": "tls-key.pem"},
    "ca": [{"id": "local-ca", "cert": "ca.pem", "key": "ca-key.pem"}],
    "est": {"users": "users"},
}
"""What a block that shows a part only is completed with."""


def keys(section: type[Section], path: str = "") -> Iterator[str]:
    """The path of every key of the model."""
    for name, field in section.model_fields.items():
        inner = list(_sections(field.annotation))
        for each in inner:
            yield from keys(each, f"{path}{name}.")
        if not inner:
            yield f"{path}{name}"


def written(data: object, path: str = "") -> Iterator[str]:
    """The path of every key that a document has."""
    if isinstance(data, list) and data:
        for item in data:
            yield from written(item, path)
    elif isinstance(data, dict) and (data or not path) and path != "ca.paths.":
        for key, value in data.items():
            yield from written(value, f"{path}{key}.")
    else:
        yield path.removesuffix(".")


def uncommented(text: str) -> str:
    """The text with its commented-out settings ("#key = value", without a blank) switched on."""
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def completed(block: str) -> Config:
    """What a block says, with what it does not show."""
    data = tomllib.loads(block)
    for key, value in NEEDED.items():
        data[key] = {**value, **data.get(key, {})} if isinstance(value, dict) else data.get(key, value)
    return build(data, ROOT)


def test_there_are_documents_to_test() -> None:
    assert len(BLOCKS) >= 4
    assert REFERENCE in DOCUMENTS


@pytest.mark.parametrize("block", BLOCKS)
def test_block(block: str) -> None:
    assert completed(block).ca


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("**/*.toml")), ids=lambda path: path.name)
def test_file(path: Path) -> None:
    assert load(path).ca


def test_the_examples_are_there() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {"dogtag-single.toml", "dogtag-pool.toml", "local-ca.toml"}


def test_complete_file_has_every_key() -> None:
    data = tomllib.loads(uncommented(COMPLETE.read_text("utf-8")))
    assert set(written(data)) == set(keys(Config))


def test_what_is_commented_out_there_is_what_is_not_built() -> None:
    """Switched on, each of those settings is refused as not built, and is otherwise right."""
    text = COMPLETE.read_text("utf-8")
    with pytest.raises(ConfigFaults) as caught:
        parse(uncommented(text), ROOT)
    assert [fault for fault in caught.value.faults if "not built yet: " not in fault.text] == []
    refused = {re.sub(r"\[[0-9]+\]", "", fault.path) for fault in caught.value.faults}
    off = set(written(tomllib.loads(uncommented(text)))) - set(written(tomllib.loads(text)))
    hsm = {f"ca.{name}" for name in TYPES["hsm"].model_fields}
    assert {key for key in off - hsm if not any(f"{key}.".startswith(f"{each}.") for each in refused)} == set()


@pytest.mark.parametrize("key", sorted({key.rpartition(".")[2] for key in keys(Config)}))
def test_reference_has_every_key(key: str) -> None:
    assert re.search(rf"`{key}`|^{key} =", REFERENCE.read_text("utf-8"), re.MULTILINE)
