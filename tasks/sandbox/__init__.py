"""Runs programs that a model wrote, so that they can hurt neither the machine nor the verdict on them.

The program and the tests on it run in two sandboxes. The tests call the program's functions through a pipe and see
plain values alone, so nothing that the program does to its own process (a patched ``assert``, an ``__eq__`` that is
always true, an early exit) makes a test pass. Files in ``inside`` run there, on the standard library alone.
"""
