"""Secrets are named in the configuration, never written there: where to read one, and reading it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HOW_TO_NAME = '"file:/path", "env:NAME" or "credential:NAME"'

_MAX_BYTES = 64 * 1024


class SecretError(Exception):
    """The secret cannot be read; the text says why and holds no part of it."""


@dataclass(frozen=True)
class Secret:
    """Where a secret is to be found. Holds the reference only, so printing one gives nothing away.

    :param kind: "file", "env" (environment variable) or "credential" (systemd's LoadCredential=).
    :param name: the file's path, the variable's name, or the credential's name.
    """

    kind: Literal["file", "env", "credential"]
    name: str

    @classmethod
    def parse(cls, text: str, directory: Path) -> Secret:
        """Read a reference.

        :param directory: what a relative ``file:`` path is relative to.
        :raises ValueError: not a reference; the text does not repeat it, for it may be the secret itself.
        """
        kind, _, name = text.partition(":")
        if kind == "file" and name and "\0" not in name:
            return cls("file", str(directory / name))
        if kind == "env" and name and not set(name) & {"=", "\0"}:
            return cls("env", name)
        if kind == "credential" and name and "/" not in name and "\0" not in name and name not in {".", ".."}:
            return cls("credential", name)
        raise ValueError(f"a secret is not written here but named: use {HOW_TO_NAME}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    def reveal(self, environ: Mapping[str, str] = os.environ) -> str:
        """Read the secret; one line end at its end is dropped.

        :param environ: the environment: for ``env:``, and for systemd's CREDENTIALS_DIRECTORY.
        :raises SecretError: it is not there, cannot be read, or is empty.
        """
        value = self._read(environ).removesuffix("\n").removesuffix("\r")
        if not value:
            raise SecretError(f"{self} is empty")
        return value

    def _read(self, environ: Mapping[str, str]) -> str:
        if self.kind == "env":
            try:
                return environ[self.name]
            except KeyError:
                raise SecretError(f"the environment variable {self.name} is not set") from None
        path = Path(self.name)
        if self.kind == "credential":
            directory = environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise SecretError(
                    f"{self} needs systemd: there is no CREDENTIALS_DIRECTORY in the environment "
                    f"(add LoadCredential={self.name}:/path to the unit)"
                )
            path = Path(directory) / self.name
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SecretError(f"cannot read {path}: {error.strerror}") from None
        if len(data) > _MAX_BYTES:
            raise SecretError(f"{path} is too large for a secret (more than 64 KB)")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise SecretError(f"{path} is not UTF-8 text") from None
