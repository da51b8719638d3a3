"""Packaging: everything but the package list stands in pyproject.toml.

The list is written out because ``twisted/plugins`` must be installed without an ``__init__.py`` in either folder
(with one, Twisted itself no longer imports), and package discovery skips folders that have none.
"""

import shutil

from setuptools import find_packages, setup
from setuptools.command.build import build


class FreshBuild(build):
    """Builds from nothing: an earlier ``pip install .`` has left ``build/lib`` here, with modules deleted since."""

    def run(self):
        """Take that away, and build (setuptools' interface)."""
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(
    packages=[*find_packages(include=["kipuka", "kipuka.*"]), "twisted.plugins"],
    cmdclass={"build": FreshBuild},
)
