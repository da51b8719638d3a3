"""A CA whose certificate and key are files: demo, tests, small sites. :class:`LocalAuthority`."""

from kipuka.authority.local.authority import LocalAuthority

__all__ = ["LocalAuthority"]
