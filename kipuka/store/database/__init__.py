"""Databases: how each is opened, what it may do at a time, how a broken one is told, and the upgrade of its tables."""
