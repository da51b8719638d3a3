"""Dogtag PKI as a CA: :class:`DogtagAuthority` over its REST API."""

from kipuka.authority.dogtag.authority import DogtagAuthority

__all__ = ["DogtagAuthority"]
