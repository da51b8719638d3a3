"""What can go wrong with the store. The texts are for the log and the operator; no password is in them."""

from __future__ import annotations


class StoreUnavailable(Exception):  # noqa: N818 - a state of affairs, as its users say it
    """The database cannot be used at the moment: connection lost, locked, disk full, read-only.

    Nothing was changed, except when the connection was lost while a change was being confirmed: then it may have been.
    Asking again is right in either case, since every change of the store is a compare-and-set or can be repeated.
    """


class UnusableDatabase(Exception):  # noqa: N818 - as above
    """The database will not do until somebody does something about it: a newer schema, a wrong encoding, no driver."""
