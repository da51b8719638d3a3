"""The configuration file, what it names, and as much of a faulty one as can still be looked at."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from kipuka.cli.doctor.findings import Finding, fault, ok, warning
from kipuka.config.administrators import own_makers
from kipuka.config.faults import ConfigFaults
from kipuka.config.inspect import inspect
from kipuka.config.load import build, load
from kipuka.config.model import Config, DogtagCa, FileCa
from kipuka.config.secret import Secret
from kipuka.tls import trial

SUBJECT = "configuration"

Steps = tuple[str | int, ...]

_STEP = re.compile(r'"((?:[^"\\]|\\.)*)"|([A-Za-z0-9_-]+)|\[([0-9]+)\]')
_ROUNDS = 10
_FILE_REMEDY = "put it right (docs/configuration.md and docs/troubleshooting.md have the keys and the texts)"


def read(path: Path) -> tuple[Config | None, list[Finding]]:
    """Read the file; a faulty one without its faulty parts.

    :returns: the configuration, None when too little of it is left; and what was found.
    """
    try:
        config = load(path)
    except ConfigFaults as error:
        findings = [fault(SUBJECT, str(each), _FILE_REMEDY) for each in error.faults]
        rest = _rest(path.absolute(), error)
        if rest is not None:
            text = "the checks below look at what is left of the file when its faulty parts are taken out"
            findings.append(warning(SUBJECT, text, "run the doctor again when the faults are gone"))
        return rest, findings
    return config, [ok(SUBJECT, f"{path} can be read")]


def behind(config: Config, now: datetime, ask: Callable[[str], str] | None) -> Iterator[Finding]:
    """Look at everything the configuration names (what ``kipuka check`` does), and at who may read it."""
    faults = inspect(config, now, trial, ask=ask)
    for each in faults:
        yield fault(SUBJECT, str(each), _FILE_REMEDY)
    if not faults:
        yield ok(SUBJECT, "the files it names hold what they should")
    if config.admin.subjects is not None:  # without, it is a fault
        for ca_id in own_makers(config):
            text = f'who gets a certificate of the CA "{ca_id}" whose subject fits admin.subjects is an administrator'
            yield warning(SUBJECT, text, "let subject_pattern of each label keep such subjects from devices")
    if config.est.enabled is False:
        yield warning(SUBJECT, "est.enabled is false: no device can enroll", "set it to true")
    open_to_all = [(key, path) for key, path in _confidential(config) if _is_open(path)]
    for key, path in open_to_all:
        text = f"{key}: everybody on this machine may read {path}"
        yield warning(SUBJECT, text, f"make it the daemon's alone: chmod o-rwx {path}")
    if not open_to_all:
        yield ok(SUBJECT, "keys and files of users are not readable for everybody")
    yield from _as_whom(config)


def _rest(path: Path, error: ConfigFaults) -> Config | None:
    """Take out what is faulty, and what then no longer fits, until something that can be used is left."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    for _ in range(_ROUNDS):
        targets = {_existing(data, _steps(each.path)) for each in error.faults}
        if () in targets:
            return None
        # From the end, or positions in lists would move; nothing that goes with its table anyway.
        for target in sorted(targets, key=_order, reverse=True):
            if not any(target[:length] in targets for length in range(len(target))):
                _remove(data, target)
        try:
            return build(data, path.parent)
        except ConfigFaults as again:
            error = again
    return None


def _steps(path: str) -> Steps:
    return tuple(
        int(match[3]) if match[3] else match[2] or (match[1] or "").replace('\\"', '"')
        for match in _STEP.finditer(path)
    )


def _order(steps: Steps) -> tuple[tuple[str, int], ...]:
    return tuple((step, 0) if isinstance(step, str) else ("", step) for step in steps)


def _existing(data: object, steps: Steps) -> Steps:
    """Return as much of the way as there is: where a key is missing, the table that lacks it."""
    for length, step in enumerate(steps):
        is_there = step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))
        if not is_there:
            return steps[:length]
        data = data[step]  # type: ignore[index]
    return steps


def _remove(data: Any, steps: Steps) -> None:
    for step in steps[:-1]:
        data = data[step]
    del data[steps[-1]]


def _confidential(config: Config) -> Iterator[tuple[str, Path]]:
    yield "tls.key", config.tls.key
    yield from _of_secret("tls.key_passphrase", config.tls.key_passphrase)
    for number, ca in enumerate(config.ca):
        where = f"ca[{number}]"
        if isinstance(ca, FileCa):
            yield f"{where}.key", ca.key
            yield from _of_secret(f"{where}.key_passphrase", ca.key_passphrase)
        if isinstance(ca, DogtagCa):
            yield f"{where}.agent_key", ca.agent_key
            yield from _of_secret(f"{where}.agent_key_passphrase", ca.agent_key_passphrase)
            if ca.kra_agent_key is not None:
                yield f"{where}.kra_agent_key", ca.kra_agent_key
            yield from _of_secret(f"{where}.kra_agent_key_passphrase", ca.kra_agent_key_passphrase)
    if config.est.users is not None:
        yield "est.users", config.est.users
    if config.admin.tokens is not None:
        yield "admin.tokens", config.admin.tokens


def _of_secret(key: str, secret: Secret | None) -> Iterator[tuple[str, Path]]:
    if secret is not None and secret.kind == "file":
        yield key, Path(secret.name)


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False  # inspection has said so


def _as_whom(config: Config, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    if config.admin.tokens is not None and not os.access(config.admin.tokens, os.R_OK):
        text = f"admin.tokens: {config.admin.tokens} cannot be read"
        yield fault(SUBJECT, text, "make it with kipuka token add, or let the daemon's user read it")
    if os.geteuid() == 0 and not environ.get("CREDENTIALS_DIRECTORY"):
        text = "the doctor runs as root, who may read and write everything: the daemon's user may not"
        yield warning(SUBJECT, text, "run it as that user: runuser -u USER -- kipuka doctor FILE")
