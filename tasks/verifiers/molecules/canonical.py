"""One form for a molecule, by RDKit; runs in the process of `process_main` alone, since RDKit reads text in C++."""

from __future__ import annotations

from rdkit import Chem


def canonical(smiles: str) -> str | None:
    """Return the canonical SMILES of a set of molecules, joined by dots; None if it is not one.

    Numbers of mapped atoms go, stereochemistry and isotopes stay, and a molecule that stands twice counts once. A
    placeholder for any atom (``*``) is no molecule.
    """
    found = _written(smiles)
    # Without its numbers an atom may be no stereocentre any more, which only reading it again shows.
    return found if found is None or ":" not in smiles else _written(found)


def _written(smiles: str) -> str | None:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        return None
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 0:
            return None
        atom.SetAtomMapNum(0)
    return ".".join(sorted(set(Chem.MolToSmiles(molecule).split("."))))
