"""An administrator with a token, who revokes over the admin API of a running daemon."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from kipuka.access.credentials.tokens import Scope, Token, hash_token, new_token, with_token
from kipuka.web.http.json_answers import MEDIA_TYPE
from tests.process.client import Tls


class Administrator:
    """Has a token in the file ``tokens`` of the folder, which ``[admin] tokens`` of the configuration names.

    :param trust: the anchor of the daemon's TLS certificate, PEM.
    """

    def __init__(self, folder: Path, port: int, trust: Path) -> None:
        self._tls = Tls(port, trust)
        self._token = new_token()
        entry = Token("ops", frozenset({Scope.REVOKE}), datetime.now(UTC), hash_token(self._token))
        (folder / "tokens").write_text(with_token("", entry))

    def revoke(self, serial: int, reason: str, ca: str | None = None) -> list[str]:
        """What became of it, and at which CA; else the error's code and text."""
        wanted = {"serial": hex(serial), "reason": reason} | ({} if ca is None else {"ca_id": ca})
        with self._tls.connect() as connection:
            connection.errors = MEDIA_TYPE
            answer = connection.request(
                "POST",
                "/admin/revoke",
                json.dumps(wanted).encode(),
                authorization=f"Bearer {self._token}",
                content_type="application/json",
            )
        found = json.loads(answer.body)
        if answer.status != 200:
            return [found["error"], found["message"]]
        assert int(found["serial"], 16) == serial
        return [found["ca_id"], found["outcome"]]
