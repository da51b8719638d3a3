"""The list of what pure rooms must not import is complete: a dependency that is added is on it, or named as allowed."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ALLOWED = {"cryptography", "pyasn1"}
MODULES = {
    "alembic": "alembic",
    "argon2-cffi": "argon2",
    "attrs": "attrs",
    "automat": "automat",
    "bcrypt": "bcrypt",
    "klein": "klein",
    "prometheus-client": "prometheus_client",
    "psycopg": "psycopg",
    "pyasn1-modules": "pyasn1_modules",
    "pydantic": "pydantic",
    "pyopenssl": "OpenSSL",
    "service-identity": "service_identity",
    "sqlalchemy": "sqlalchemy",
    "twisted": "twisted",
}
"""What each distribution is imported as."""


def test_pure_rooms_may_import_no_other_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    names = {re.match(r"[a-z0-9-]+", each)[0] for each in requirements}  # type: ignore[index]
    rules = configparser.ConfigParser(interpolation=None)
    rules.read(ROOT / ".importlinter")
    forbidden = set(rules["importlinter:contract:pure"]["forbidden_modules"].split())
    assert {MODULES[name] for name in names - ALLOWED} <= forbidden
