r"""USPTO-50k: 50,000 reactions from patents in ten classes; predict the product, the reactants, or the class.

Sample (column rxn_smiles, and class for the class):

    rxn_smiles: CCO.CC(=O)Cl>>CCOC(C)=O
    class:      2

Source: Schneider et al. 2016 (J. Chem. Inf. Model. 56, 2336) of Lowe's text-mined patents (CC0);
hf:pingzhili/uspto-50k has ``rxn_smiles`` and ``class``. Other layouts by naming columns: a .csv with all in
``reactants>reagents>production`` names that one twice; hf:bisectgroup/USPTO_50K has ``reactants`` and ``product``.

``problem.options.task`` says what is asked:

- ``product`` (the default): the reactants, and reagents if there are any, are shown. The main product is asked for.
- ``reactants``: the product is shown (retrosynthesis). All reactants are one answer, joined by dots; reagents are not
  asked for.
- ``class``: the reaction is shown. One of the ten classes is asked for by its number, as in the code that the authors
  of the paper released; it needs no RDKit.

A cell may hold a reaction or a side of one: of a reaction, question and answer take their sides. Molecules are shown in
RDKit's canonical form without the numbers of atoms, since their order would show what reacts. A reply is read as by
``verifier: molecule``; two molecules are equal where their canonical forms are, and that form is the vote. Class votes
are numbers from 1 to 10; any other number abstains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Source
from thickets.tasks.datafiles.columns import text_of, value_of
from thickets.tasks.problems.base import Option
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, Kind
from thickets.tasks.problems.options import with_defaults
from thickets.tasks.types import Example
from thickets.tasks.verifiers import NUMERIC, Verifier
from thickets.tasks.verifiers.molecule import molecule_verifier
from thickets.tasks.verifiers.molecules.process import PROCESS

TASKS = ("product", "reactants", "class")
OPTIONS = (Option("task", "product", "What is asked for: product, reactants or class."),)
_COLUMNS = {"question_column": "rxn_smiles", "answer_column": "rxn_smiles"}
_CLASS_COLUMN = "class"
_ATOM_NUMBER = re.compile(r":\d+\]")

INSTRUCTIONS = {
    "product": "These molecules react, given as SMILES:\n\n{question}\n\n"
    "What is the main product? Give its SMILES in <answer> tags.",
    "reactants": "This molecule is the product of a reaction of one step, given as SMILES:\n\n{question}\n\n"
    "Which reactants make it? Give their SMILES, joined by dots, in <answer> tags.",
    "class": "To which class does this reaction belong? It is given as SMILES, reactants before the product.\n\n"
    "{question}\n\n1: heteroatom alkylation or arylation\n2: acylation\n3: formation of a C-C bond\n"
    "4: formation of a heterocycle\n5: protection\n6: deprotection\n7: reduction\n8: oxidation\n"
    "9: interconversion of functional groups\n10: addition of a functional group\n\n"
    "Give the number of the class in <answer> tags.",
}
_MAX_TOKENS = {"product": 256, "reactants": 256, "class": 64}


def _class(text: str | None) -> str | None:
    return text if text in _CLASSES else None


_CLASSES = {str(number) for number in range(1, 11)}
CLASS = replace(
    NUMERIC,
    name="reaction_class",
    extract=lambda text, example: _class(NUMERIC.extract(text, example)),
    gold=lambda example: _class(NUMERIC.gold(example)),
    gold_rule="it must be a class from 1 to 10",
    details={**NUMERIC.details, "reaction_class": 1},
    n_options=lambda example: len(_CLASSES),
)


class Uspto50k(FileProblem):
    """USPTO-50k from a file or from Hugging Face.

    Raises:
        InputError: The task is unknown.
    """

    summary = "Reactions: predict the product, the reactants or the class (path: a file or hf:pingzhili/uspto-50k)."

    def __init__(self, config: ProblemConfig) -> None:
        self._task = with_defaults("uspto50k", OPTIONS, config.options)["task"]
        if self._task not in TASKS:
            raise InputError(f"problem.options.task is {self._task!r}; allowed are {', '.join(TASKS)}")
        config = config.with_own_columns()
        if self._task == "class" and config.answer_column == _COLUMNS["answer_column"]:
            config = config.model_copy(update={"answer_column": _CLASS_COLUMN})
        super().__init__(config, self._made_verifier())

    def _made_verifier(self) -> Verifier:
        verifier = CLASS if self._task == "class" else molecule_verifier(self._task)
        return replace(verifier, instruction=INSTRUCTIONS[self._task], max_tokens=_MAX_TOKENS[self._task])

    def _source(self, field: str, location: str, default_split: str) -> Source:
        """Name the columns as `_prepare` makes them, of which two may come from one."""
        source = super()._source(field, location, default_split)
        answer = source.answer_column
        if answer == source.question_column:
            answer = f"{answer} ({self._task})"

        def prepare(place: str, row: Mapping[str, Any]) -> Mapping[str, Any] | str:
            asked, given = (
                text_of(source, place, value_of(source, place, row, name, column), name, column)
                for name, column in (
                    ("question_column", source.question_column),
                    ("answer_column", source.answer_column),
                )
            )
            question = self._shown(asked)
            if question is None:
                return "whose molecules RDKit cannot read"
            return {**row, source.question_column: question, answer: self._wanted(given)}

        return replace(source, answer_column=answer, prepare=prepare)

    def _shown(self, cell: str) -> str | None:
        """Return what the question shows of a cell."""
        if self._task == "class":
            return _ATOM_NUMBER.sub("]", cell)
        sides = _sides(cell)
        if sides is None:
            return PROCESS.canonical(cell.strip())
        left, between, right = sides
        return PROCESS.canonical(
            right if self._task == "reactants" else ".".join(side for side in (left, between) if side)
        )

    def _wanted(self, cell: str) -> str:
        """Return what the answer takes of a cell."""
        sides = None if self._task == "class" else _sides(cell)
        return cell if sides is None else sides[0 if self._task == "reactants" else 2]


def _sides(cell: str) -> tuple[str, str, str] | None:
    """Return reactants, reagents and product of a reaction; None for anything else."""
    parts = cell.strip().split(">")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else None


KIND = Kind(
    name="uspto50k",
    summary=Uspto50k.summary,
    make=Uspto50k,
    origin="Schneider et al. 2016 after Lowe; CC0",
    fields=(*DATA_FIELDS, *EXAMPLE_FIELDS, "options"),
    columns=_COLUMNS,
    one_column=True,
    options=lambda: OPTIONS,
    sample_config={"path": "uspto50k.jsonl"},
    sample_example=Example("sample", "CC(=O)Cl.CCO", "CCOC(C)=O"),
)
