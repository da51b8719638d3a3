"""Asking a KRA."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from kipuka.authority.dogtag.wire import Answer
from kipuka.cli.doctor import answers
from kipuka.cli.doctor.findings import Finding, fault, ok

_APIS = ("/kra/rest", "/kra/v1", "/kra/v2")


async def ask(
    subject: str, get: Callable[[str], Awaitable[Answer]], now: datetime, *, has_directory: bool
) -> list[Finding]:
    """Ask whether it is there, for its transport certificate, and whether the agent may recover keys.

    :raises AuthorityError: it does not answer.
    """
    found = [each for each in _APIS if (await get(f"{each}/info")).status == 200]
    if not found:
        return [fault(subject, "nothing answers at /kra/rest: there is no KRA behind kra_url", "correct kra_url")]
    base = found[0]
    transport = answers.transport(subject, await get(f"{base}/config/cert/transport"), now)
    keys = await get(f"{base}/agent/keys?size=1&pageSize=1")
    may = answers.recovery(subject, keys, has_directory=has_directory)
    return [ok(subject, f"the KRA answers at {', '.join(found)}"), transport, may]
