"""The history of the tables, for Alembic. Released revisions are never edited.

A change of ``schema.py`` comes with a new file in ``versions``: the next number, ``down_revision`` the one before, and
an ``upgrade`` that spells its columns out (it must still do the same when ``schema.py`` has moved on). There is no way
back: an operator who must go back restores the copy that was made before the upgrade.
"""
