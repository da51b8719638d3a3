"""Dogtag PKI as a CA: :class:`DogtagAuthority` over its REST API; and what may stand beside it."""

from kipuka.authority.dogtag.authority import DogtagAuthority
from kipuka.authority.dogtag.chain import Keeper
from kipuka.authority.dogtag.subsystem import Subsystem

__all__ = ["DogtagAuthority", "Keeper", "Subsystem"]
