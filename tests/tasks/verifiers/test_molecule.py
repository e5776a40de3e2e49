"""Molecules as answers: which is found in a reply, which are equal, and what RDKit cannot do to a run."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.patience import PATIENCE_S, no_blow_up
from thickets.storage.errors import InputError
from thickets.tasks.types import Example
from thickets.tasks.verifiers.molecule import MOLECULE, molecule_answer, molecule_verifier
from thickets.tasks.verifiers.molecules import process as module
from thickets.tasks.verifiers.molecules.process import LONGEST, MoleculeProcess

ESTER = Example("1", "Give the ester of ethanol and acetic acid.", "CCOC(C)=O")


@pytest.fixture
def process() -> Iterator[MoleculeProcess]:
    process = MoleculeProcess()
    yield process
    process.close()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        # the marks
        (r"It is \boxed{OCC}.", "CCO"),
        (r"\boxed{\text{C/C=C\C}}", r"C/C=C\C"),
        ("#### OCC", "CCO"),
        ("<answer>OCC</answer>", "CCO"),
        ("<answer>\nSMILES: OCC\n</answer>", "CCO"),
        ("<answer>CCO</answer> No: <answer>CCN</answer>", "CCN"),
        ("<answer>CCO, ethanol</answer>", "CCO"),
        ("<SMILES>OCC</SMILES> is ethanol", "CCO"),
        ("The answer is OCC.", "CCO"),
        ("The answer is the alcohol CCO", "CCO"),
        ("<answer>CCO |$a;b;c$|</answer>", "CCO"),
        # no mark
        ("OCC", "CCO"),
        ("**OCC**", "CCO"),
        ("```\nOCC\n```", "CCO"),
        ("```smiles\nOCC\n```\nIt is formed from CC=O.", "CCO"),
        ("Reactants: CC=O\nProduct: OCC", "CCO"),
        ("**Product (SMILES):** `OCC`", "CCO"),
        ("CC=O is reduced.\n\nOCC\n\nHope this helps!", "CCO"),
        ("1. CCO\n2. OCC", "CCO"),
        ("The product is **CCO**, formed by reduction.", "CCO"),
        ("The two reactants are CCO and CC(=O)O.", "CC(=O)O.CCO"),
        ("OCC + CC(=O)O", "CC(=O)O.CCO"),
        ("[Na+] . [Cl-]", "[Cl-].[Na+]"),
        # nothing, or what may be two things
        ("", None),
        ("<answer></answer>", None),
        ("<answer>CCO or CCN</answer>", None),
        ("CCO or CCN", None),
        ("The answer is `CCO`. CCN is not.", None),
        ("CC=O\nOCC\nThese are the two.", None),
        ("NO", None),
        ("No.", None),
        ("I", None),
        ("soon", None),
        ("The product is an ester.", None),
        ("CC=O>>OCC", None),
        # no molecules
        ("C1CC", None),
        ("<answer>C1CC</answer>\n\nOr CCO", None),
        ("CCO\n\nC1CC", None),
        ("CC(C)(C)(C)C", None),
        ("<answer>*C</answer>", None),
        ("<answer>" + "C" * (LONGEST + 1) + "</answer>", None),
        ("<answer>CCО</answer>", None),  # a Cyrillic О
        ("<answer>CC\0O</answer>", None),
    ],
    ids=range(43),
)
def test_the_molecule_of_a_reply(reply: str, answer: str | None) -> None:
    assert molecule_answer(reply) == answer


def test_of_a_reaction_that_is_written_out_the_side_that_is_asked_for_counts() -> None:
    for reply in ("CC(=O)O.OCC>>CC(=O)OCC", "<answer>CC(=O)O.OCC>[H+]>CC(=O)OCC</answer>", "OCC + CC(=O)O → CC(=O)OCC"):
        assert molecule_answer(reply, "product") == "CCOC(C)=O"
        assert molecule_answer(reply, "reactants") == "CC(=O)O.CCO"
        assert molecule_answer(reply) is None
    assert molecule_answer("CCO>>", "product") is None
    assert molecule_verifier("product").details != MOLECULE.details


@pytest.mark.parametrize(
    ("left", "right", "are_equal"),
    [
        ("OCC", "C(O)C", True),
        ("c1ccccc1", "C1=CC=CC=C1", True),
        ("[CH3:7][CH2:1][OH:3]", "CCO", True),
        ("[CH3:1][C@:2]([CH3:3])(F)Cl", "CC(C)(F)Cl", True),  # no stereocentre without the numbers
        ("CCO.CCN", "CCN.CCO", True),
        ("[Na+].[Cl-].[Na+].[Cl-]", "[Na+].[Cl-]", True),  # a set
        ("CCO.CCN", "CCO", False),
        ("C[C@H](F)Cl", "C[C@@H](F)Cl", False),
        ("C[C@H](F)Cl", "CC(F)Cl", False),
        ("F/C=C/F", r"F/C=C\F", False),
        ("[2H]C", "C", False),
        ("CC[NH3+]", "CCN", False),
    ],
    ids=range(12),
)
def test_molecules_are_equal_by_their_canonical_form(left: str, right: str, are_equal: bool) -> None:
    example = Example("1", "?", right)
    answer = MOLECULE.extract(f"<answer>{left}</answer>", example)
    assert answer is not None
    assert MOLECULE.accepts(answer, example) is are_equal
    assert MOLECULE.extract(f"<answer>{answer}</answer>", example) == answer  # its own answer, judged again


def test_a_reply_that_names_the_molecule_elsewhere_has_the_wrong_form() -> None:
    assert MOLECULE.lenient("CC(=O)OCC, I think, or so", ESTER) is True
    assert MOLECULE.lenient("CC(=O)OCC or CCO", ESTER) is None
    assert MOLECULE.lenient("An ester of CCO", ESTER) is False


def test_a_gold_answer_that_is_no_molecule_cannot_be_judged() -> None:
    for gold in ("C1CC", "ethanol", "CCO>>CC", "CCO or CCN", "C*", "C[*]"):
        assert MOLECULE.gold(Example("1", "?", gold)) is None


def test_what_takes_too_long_is_no_molecule_and_the_next_one_is_read(caplog: pytest.LogCaptureFixture) -> None:
    process = MoleculeProcess(cpu_s=0.02)
    with caplog.at_level(logging.WARNING, logger="thickets"):
        assert process.canonical("C1CCC" * 400) is None
    [line] = caplog.messages
    assert "molecule: more than 0.02 s of processor time for 'C1CCC" in line
    assert process.canonical("OCC") == "CCO"
    process.close()


def test_a_crash_costs_an_answer_and_no_run(process: MoleculeProcess, caplog: pytest.LogCaptureFixture) -> None:
    process.canonical("C")
    assert process.pid is not None
    child = psutil.Process(process.pid)
    child.suspend()
    os.kill(child.pid, signal.SIGSEGV)  # as of a fault in C++
    child.resume()
    child.wait(PATIENCE_S)
    with caplog.at_level(logging.WARNING, logger="thickets"):
        found = process.canonical("OCC")
    # Asked in the very moment of the end it has no answer; afterwards another process has one.
    assert found == "CCO" or "was ended by SIGSEGV" in caplog.text
    assert process.canonical("OCN") == "NCO"


def test_a_thousand_different_replies_are_a_thousand_answers() -> None:
    replies = [f"The product is:\n<answer>{'C' * (n % 40 + 1)}O{'N' * (n // 40)}c1ccccc1</answer>" for n in range(1000)]
    with no_blow_up():
        answers = [molecule_answer(reply) for reply in replies]
    assert None not in answers
    assert len(set(answers)) == 1000


@pytest.mark.parametrize(
    "piece",
    [" ", "*", "_", "`", "<smiles>", "<smiles><product>", "```\n", "[", "(", "C", "product ", "product is ", " and ",
     " > ", "->", "\\text{", "a ", "1. ", "C1", "C\n", "[C]", ">", "→"],
    ids=range(23),
)  # fmt: skip
def test_no_reply_holds_up_the_search_for_a_molecule(piece: str) -> None:
    for reply in (piece * (30_000 // len(piece)), "<answer>" + piece * (30_000 // len(piece))):
        with no_blow_up():
            molecule_answer(reply, "product")
            MOLECULE.lenient(reply, ESTER)


def test_without_rdkit_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_installed", lambda: False)
    with pytest.raises(InputError, match=r"need RDKit.*thickets\[chemistry\]"):
        MOLECULE.gold(ESTER)
