"""The CAs behind kipuka. They share :mod:`kipuka.authority.interface` and do not know each other."""
