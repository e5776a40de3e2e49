"""The process that reads molecules; started by `process`.

It reads ``("canonical", smiles)`` and answers with the one form; None for what is no molecule.
"""

from __future__ import annotations

import os

from thickets.tasks.verifiers.limited.main import Answer, main


def prepare() -> Answer:
    """Import RDKit and try it once."""
    from rdkit.rdBase import DisableLog

    from thickets.tasks.verifiers.molecules.canonical import canonical

    DisableLog("rdApp.*")
    canonical("c1ccccc1")
    # What C++ writes all the same would fill the pipe that nobody reads any more.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)

    def answer(what: str, texts: list[str]) -> object:
        try:
            return canonical(*texts)
        except MemoryError:
            raise
        except Exception:  # RDKit's own; what it cannot do is not read
            return None

    return answer


if __name__ == "__main__":
    main(prepare)
