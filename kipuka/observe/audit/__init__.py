"""The audit trail: each security-relevant event once, as one typed record, in the places that were configured.

``record`` is what is said of an event, and its one line of JSON; in a ``chain`` each record names the one before it by
its hash. ``file`` and ``syslog`` are places to write to, each behind an ``outbox``, a bounded queue; ``trail`` is all
of it together. The database's chain is in :mod:`kipuka.store.audit`.
"""
