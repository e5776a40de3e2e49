"""Reads molecules in a process of its own: a text that crashes RDKit, or keeps it busy, is no molecule."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

from thickets.storage.errors import InputError
from thickets.tasks.verifiers.limited.process import CPU_S, MEMORY_BYTES, WAIT_S, LimitedProcess

LONGEST = 2_000
"""Characters of a molecule; those of USPTO-50k, with the numbers of their atoms, have fewer."""
_MODULE = "thickets.tasks.verifiers.molecules.process_main"


class MoleculeProcess(LimitedProcess):
    """The process for molecules."""

    def __init__(self, cpu_s: float = CPU_S, wait_s: float = WAIT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        """Start nothing yet; see `LimitedProcess`."""
        super().__init__(_MODULE, "molecule", cpu_s, wait_s, memory_bytes)

    def canonical(self, smiles: str) -> str | None:
        """Return the canonical SMILES of a set of molecules; None if it is not one, or takes too much time or memory.

        Raises:
            InputError: RDKit is not installed.
        """
        if not smiles or len(smiles) > LONGEST or not smiles.isascii() or not smiles.isprintable() or " " in smiles:
            return None
        if not _is_installed():
            raise InputError(
                "problem.verifier molecule and problem.name uspto50k need RDKit, which is not installed; install the "
                "extra thickets[chemistry]"
            )
        found = self.ask("canonical", smiles)
        return found if isinstance(found, str) else None


@cache
def _is_installed() -> bool:
    return find_spec("rdkit") is not None


PROCESS = MoleculeProcess()
"""The process of this one; nothing runs until an answer needs it."""

os.register_at_fork(after_in_child=PROCESS.after_fork)
