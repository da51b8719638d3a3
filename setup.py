"""Packaging: everything but the package list stands in pyproject.toml.

The list is written out because ``twisted/plugins`` must be installed without an ``__init__.py`` in either folder
(with one, Twisted itself no longer imports), and package discovery skips folders that have none.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["kipuka", "kipuka.*"]), "twisted.plugins"])
