"""What belongs to the request that is being worked on, wherever in the program the work is.

A context variable follows coroutines through :meth:`twisted.internet.defer.Deferred.fromCoroutine`; it does not follow
into threads or through plain callbacks.
"""

from __future__ import annotations

from contextvars import ContextVar

reference: ContextVar[str] = ContextVar("reference")
"""Eight hexadecimal digits that name the request to client, log and audit. Not set: the work is nobody's request."""
