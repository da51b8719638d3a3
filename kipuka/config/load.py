"""From a TOML file to a :class:`~kipuka.config.model.Config`, or to all of its faults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kipuka.config import not_built, relations
from kipuka.config.explain import explain
from kipuka.config.faults import ConfigFaults, Fault
from kipuka.config.model import Config
from kipuka.config.model.fields import DIRECTORY

__all__ = ["ConfigFaults", "Fault", "build", "load", "parse"]


def load(path: Path) -> Config:
    """Read a configuration file. The files it names are not touched; see ``kipuka.config.inspect``.

    :raises ConfigFaults: the file cannot be read, is not TOML, or says something that cannot be obeyed.
    """
    path = path.absolute()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigFaults([Fault("", f"cannot read {path}: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigFaults([Fault("", f"{path} is not UTF-8 text (at byte {error.start})")]) from None
    return parse(text, path.parent)


def parse(text: str, directory: Path) -> Config:
    """Read the text of a configuration file.

    :param directory: what relative paths are relative to.
    :raises ConfigFaults: as :func:`load`.
    """
    try:
        data = tomllib.loads(text)
        _check_numbers(data)
    except tomllib.TOMLDecodeError as error:
        raise ConfigFaults([Fault("", f"this is not TOML: {error}")]) from None
    except ValueError:  # of _check_numbers, or Python's own of more than 4300 digits
        raise ConfigFaults([Fault("", "this is not TOML: a number in it has more than 64 bits")]) from None
    except RecursionError:
        raise ConfigFaults([Fault("", "this is not a configuration: its values are nested too deeply")]) from None
    return build(data, directory)


def build(data: dict[str, Any], directory: Path) -> Config:
    """Turn a TOML document into the configuration.

    :raises ConfigFaults: every fault there is, not only the first.
    """
    faults: list[Fault] = []
    config = None
    try:
        config = Config.model_validate(data, context={DIRECTORY: directory})
    except ValidationError as error:
        faults += [explain(detail, data) for detail in error.errors(include_url=False)]
    faults += relations.faults(data)
    faults += not_built.faults(data)
    if config is None or faults:
        raise ConfigFaults(faults)
    return config


def _check_numbers(value: object) -> None:
    """Refuse the integers that TOML does not have: in hexadecimal tomllib reads any, and then no text can name them.

    :raises ValueError: there is one in the value.
    """
    match value:
        case dict():
            _check_numbers(list(value.values()))
        case list():
            for each in value:
                _check_numbers(each)
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError("more than 64 bits")
