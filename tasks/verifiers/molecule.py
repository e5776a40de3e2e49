"""Molecules as answers: equal where RDKit gives them one canonical SMILES, which is the vote."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from thickets.tasks.types import JSON, Example
from thickets.tasks.verifiers.molecules.process import PROCESS
from thickets.tasks.verifiers.smiles import Side, marked, named, unmarked
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all

_VERSION = 1
_INSTRUCTION = "{question}\n\nGive the SMILES in <answer> tags."


def molecule_answer(text: str, side: Side | None = None) -> str | None:
    """Return the molecule that a reply gives as its answer, as canonical SMILES; None if it surely gives none.

    Several molecules joined by dots are one answer, a set. Where nothing is marked, the last line counts if it is
    SMILES, else the one molecule that lines of the reply hold.

    Args:
        text: The reply.
        side: What is asked for of a reaction, where the reply writes one out; None: then it abstains.

    Raises:
        InputError: RDKit is not installed.
    """
    found = marked(text, side)
    if found is not None:
        return _only(found)
    answers = map(_only, unmarked(text, side))
    return next((answer for answer in answers if answer is not None), None)


def _only(smiles: list[str]) -> str | None:
    """Return the molecule, if all texts are the same one."""
    different = {PROCESS.canonical(each) for each in smiles}
    return different.pop() if len(different) == 1 else None


def molecule_verifier(side: Side | None = None) -> Verifier:
    """Make a verifier for molecules.

    Args:
        side: What is asked for of a reaction, where a reply writes one out.
    """

    def gold(text: str, _: Example) -> str | None:
        return PROCESS.canonical(text.strip())

    # Another version of RDKit may write another form.
    details: dict[str, JSON] = {"molecule": _VERSION, "rdkit": _installed()}
    return Verifier(
        name="molecule",
        instruction=_INSTRUCTION,
        max_tokens=256,
        extract=lambda text, _: molecule_answer(text, side),
        gold=gold_of_all(gold),
        gold_rule="it must be SMILES, several molecules joined by dots",
        named=lambda text: {each for smiles in named(text) if (each := PROCESS.canonical(smiles)) is not None},
        details={**details, "side": side} if side else details,
    )


def _installed() -> str | None:
    """Return RDKit's version; None where it is missing, as where a logged model is loaded."""
    try:
        return version("rdkit")
    except PackageNotFoundError:
        return None


MOLECULE = molecule_verifier()
"""A molecule, or a set of them."""
