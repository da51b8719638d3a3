"""The configuration: ``load`` reads it, ``model`` is its shape, ``inspect`` looks at the files behind the words."""
