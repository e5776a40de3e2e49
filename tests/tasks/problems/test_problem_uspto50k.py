"""USPTO-50k: its three tasks, the layouts it comes in, and what a reply is worth."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.problems import Problem, ProblemConfig, load_problem
from thickets.tasks.problems.base import HasOptions
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example

MAPPED = "[CH3:1][CH2:2][OH:3].[CH3:4][C:5](=[O:6])Cl>[K+].[OH-]>[CH3:1][CH2:2][O:3][C:5]([CH3:4])=[O:6]"
ROW = {"id": "US1", "class": 2, "rxn_smiles": MAPPED, "prod_smiles": "CCOC(C)=O"}


def load(folder: Path, *rows: dict, task: str = "product", **fields: str) -> tuple[Problem, list[Example]]:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    problem = load_problem(ProblemConfig(name="uspto50k", path=str(path), options={"task": task}, **fields))
    return problem, problem.examples(0, 0)


def judged(problem: Problem, example: Example, reply: str) -> bool | None:
    [found] = Judge(problem).judge([reply], [example])
    return None if found.answer is None else found.correct


@pytest.mark.parametrize(
    ("task", "shown", "gold"),
    [
        ("product", "CC(=O)Cl.CCO.[K+].[OH-]", "CCOC(C)=O"),
        ("reactants", "CCOC(C)=O", "CC(=O)Cl.CCO"),
        ("class", MAPPED.replace(":1]", "]").replace(":2]", "]").replace(":3]", "]"), "2"),
    ],
    ids=["product", "reactants", "class"],
)
def test_what_is_shown_and_what_is_asked(task: str, shown: str, gold: str, tmp_path: Path) -> None:
    problem, [example] = load(tmp_path, ROW, task=task)
    if task == "class":
        shown = shown.replace(":4]", "]").replace(":5]", "]").replace(":6]", "]")
    assert example.question == shown
    assert shown in problem.messages(example)[-1]["content"]
    assert problem.extract(f"<answer>{gold}</answer>", example) == gold
    assert problem.score(gold, example) == problem.right_at


LAYOUTS = {
    "two_columns": ({"reactants": "CCO.CC(=O)Cl", "product": "CCOC(C)=O"}, "reactants", "product"),
    "one_column": ({"reactants>reagents>production": MAPPED}, *["reactants>reagents>production"] * 2),
    "reaction_and_product": (ROW, "rxn_smiles", "prod_smiles"),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts_are_read_by_naming_columns(layout: str, tmp_path: Path) -> None:
    row, question, answer = LAYOUTS[layout]
    problem, [example] = load(tmp_path, row, question_column=question, answer_column=answer)
    assert example.question.startswith("CC(=O)Cl.CCO")
    assert judged(problem, example, "<answer>O=C(C)OCC</answer>") is True
    if layout != "reaction_and_product":
        other = {"question_column": answer, "answer_column": question}
        problem, [example] = load(tmp_path, row, task="reactants", **other)
        assert example.question == "CCOC(C)=O"
        assert judged(problem, example, "<answer>OCC.ClC(=O)C</answer>") is True


def test_a_table_with_commas_and_a_folder_as_of_hugging_face(tmp_path: Path) -> None:
    table = tmp_path / "raw_train.csv"
    table.write_text(f"id,class,reactants>reagents>production\nUS1,2,{MAPPED}\n")
    one = "reactants>reagents>production"
    config = ProblemConfig(name="uspto50k", path=str(table), question_column=one, answer_column=one, id_column="id")
    assert [each.id for each in load_problem(config).examples(0, 0)] == ["US1"]
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.jsonl").write_text(json.dumps(ROW))
    config = ProblemConfig(name="uspto50k", path=f"hf:{tmp_path / 'hub'}", options={"task": "class"})
    assert [each.answer for each in load_problem(config).examples(0, 0)] == ["2"]


@pytest.mark.parametrize(
    ("task", "reply", "is_right"),
    [
        ("product", "Ethanol is acylated: <answer>CC(=O)OCC</answer>", True),
        ("product", "CC(=O)Cl.CCO>>CC(=O)OCC", True),
        ("product", "<answer>CC(=O)OC</answer>", False),
        ("product", "<answer>CC(=O)OCC.Cl</answer>", False),
        ("product", "<answer>CC(=O)OC(C</answer>", None),
        ("product", "<answer></answer>", None),
        ("product", "", None),
        ("product", "<think>CC(=O)OCC", None),
        ("reactants", "<answer>OCC.CC(Cl)=O</answer>", True),
        ("reactants", "<answer>CC(Cl)=O + OCC</answer>", True),
        ("reactants", "<answer>OCC</answer>", False),
        ("reactants", "<answer>OCC or CC(Cl)=O</answer>", None),
        ("class", "<answer>2</answer>", True),
        ("class", "This is an acylation, class 2.", True),
        ("class", "<answer>3</answer>", False),
        ("class", "<answer>11</answer>", None),
        ("class", "<answer>2.5</answer>", None),
        ("class", "It is an acylation.", None),
    ],
    ids=range(18),
)
def test_replies(task: str, reply: str, is_right: bool | None, tmp_path: Path) -> None:
    problem, [example] = load(tmp_path, ROW, task=task)
    assert judged(problem, example, reply) is is_right


def test_the_same_question_after_its_atoms_lost_their_numbers_stands_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = {**ROW, "rxn_smiles": "OCC.CC(=O)Cl>[OH-].[K+]>CCOC(C)=O"}
    bad = {**ROW, "rxn_smiles": "C1CC>>CCC"}
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path, ROW, again, bad)[1]) == 1
    assert "dropped 1 of 2 rows, which repeat an earlier question" in caplog.text
    assert "left out 1 of 3 rows: 1 whose molecules RDKit cannot read" in caplog.text


def test_what_differs_in_task_differs_in_identity(tmp_path: Path) -> None:
    found = {task: load(tmp_path, ROW, task=task)[0] for task in ("product", "reactants", "class")}
    assert len({json.dumps(each.judgement(), sort_keys=True) for each in found.values()}) == 3
    assert isinstance(found["class"], HasOptions)
    assert [each.n_options(Example("1", "", "2")) for each in found.values()] == [None, None, 10]  # type: ignore[attr-defined]


def test_settings_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"problem\.options\.task is 'colour'; allowed are product, reactants, class"):
        load(tmp_path, ROW, task="colour")
    with pytest.raises(InputError, match=r"problem\.options has 'tusk'; uspto50k takes task"):
        load_problem(ProblemConfig(name="uspto50k", path="x.jsonl", options={"tusk": "class"}))
    with pytest.raises(ValidationError, match=r"problem\.verifier is 'exact', but uspto50k takes none"):
        ProblemConfig(name="uspto50k", path="x.jsonl", verifier="exact")
    with pytest.raises(InputError, match=r"problem\.question_column"):
        load(tmp_path, {"reactants": "C", "product": "CC"})
    with pytest.raises(InputError, match=r"'rxn_smiles \(product\)' is empty"):
        load(tmp_path, {**ROW, "rxn_smiles": "CCO>>"})
    with pytest.raises(InputError, match="cannot be judged by verifier molecule"):
        load(tmp_path, {**ROW, "rxn_smiles": "CCO>>C1CC"})
