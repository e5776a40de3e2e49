"""The Python interface that `thickets` re-exports.

Every function imports what it needs when it is called, so that `import thickets` costs nothing. The examples assume a
finished run in ``./thickets-data`` and a checkpoint folder ``tiny``; a test runs them.
"""
