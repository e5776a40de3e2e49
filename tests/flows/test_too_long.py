"""A row that is too long for the model is found before anything is generated: named, or dropped where it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.prompts import plan_prompts
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.description import describe_engine
from thickets.flows.plan import RunPlan, make_plan
from thickets.storage.errors import InputError
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import Splits, draw_splits

CONTEXT, ROOM = 512, 512 - 64  # of the tiny model, and beside the 64 tokens of an answer
LONG = "w" * 420
N = 46

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def configured(config: MakeConfig, tmp_path: Path) -> Callable[..., RunConfig]:
    """A run on a file of 46 rows; the numbered ones are too long."""

    def make(long: tuple[int, ...] = (), **sections: Any) -> RunConfig:
        path = tmp_path / "rows.jsonl"
        rows = [
            {"id": f"r{i}", "q": f"Say {i}, please{' ' + LONG if i in long else ''}", "answer": str(i)}
            for i in range(N)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        problem = {"name": "file", "path": str(path), "id_column": "id", "question_column": "q"}
        problem |= {"instruction": "{question}", "verifier": "exact"}
        return config(**{"problem": problem, "decoding": {"max_tokens": 64}, **sections})

    return make


def drawn(config: RunConfig) -> Splits:
    data = config.data
    return draw_splits(
        load_problem(config.single_problem),
        selection=data.selection,
        validation=data.validation,
        test=data.test,
        seed=data.seed,
    )


def planned(config: RunConfig) -> RunPlan:
    return make_plan(config, find_base_model(config.model), load_problem(config.single_problem), drawn(config))


def ids(splits: Splits) -> dict[str, list[str]]:
    return {split.name: [example.id for example in split.examples] for split in splits}


def number_in(config: RunConfig, split: str, place: int) -> int:
    return int(ids(drawn(config))[split][place][1:])


@pytest.mark.parametrize("split", ["selection", "validation", "test"])
def test_a_row_that_is_too_long_is_named_before_anything_is_planned(configured: MakeConfig, split: str) -> None:
    row = number_in(configured(), split, 3)
    config = configured(long=(row,))
    n_tokens = len(f"[user] Say {row}, please {LONG}\n[assistant] ")
    words = f"Say {row}, please {LONG}"[:60]
    for find in (planned, check_inputs):
        with pytest.raises(InputError) as caught:
            find(config)
        assert str(caught.value) == (
            f"data.too_long: the prompt of {split} row 'r{row}' ('{words}...') has {n_tokens} tokens, and {ROOM} fit "
            f"beside an answer of 64 in this model's {CONTEXT}; set data.too_long to drop to leave such rows out, "
            "lower decoding.max_tokens, or shorten problem.instruction, problem.system or the row"
        )


def test_several_rows_are_counted(configured: MakeConfig) -> None:
    rows = (number_in(configured(), "validation", 0), number_in(configured(), "test", 5))
    with pytest.raises(InputError, match=rf"validation row 'r{rows[0]}' .* \(2 rows are too long, this is the first\)"):
        planned(configured(long=rows))


def test_dropped_rows_leave_all_others_where_they_are(configured: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    before = ids(drawn(configured()))
    rows = [number_in(configured(), split, place) for split, place in (("selection", 0), ("selection", 7), ("test", 2))]
    plan = planned(configured(long=tuple(rows), data=_data(configured, "drop")))
    dropped = {f"r{row}" for row in rows}
    assert ids(plan.splits) == {name: [each for each in some if each not in dropped] for name, some in before.items()}
    assert plan.dropped == {"selection": 2, "test": 1}
    assert sum(plan.block_sizes("selection")) == len(before["selection"]) - 2
    [line] = describe_engine(plan).warnings
    assert line.startswith(
        "data.too_long: drop leaves out 2 of 12 selection rows, 1 of 14 test rows, whose prompts have"
    )
    check_inputs(plan.config)


def test_dropping_where_nothing_is_too_long_is_the_same_run(configured: MakeConfig) -> None:
    plain, dropping = planned(configured()), planned(configured(data=_data(configured, "drop")))
    assert (plain.fingerprint, plain.run_id) == (dropping.fingerprint, dropping.run_id)
    assert plain.dropped == dropping.dropped == {}
    assert plain.warnings == ()


def test_a_prompt_that_just_fits_is_kept(configured: MakeConfig) -> None:
    text_tokens = len("[user] Say 10, please \n[assistant] ")  # r10 to r45 have two digits
    config = configured(long=tuple(range(10, N)), data=_data(configured, "drop"))
    room = text_tokens + len(LONG)
    fits = config.model_copy(update={"decoding": config.decoding.model_copy(update={"max_tokens": CONTEXT - room})})
    assert room < CONTEXT, "else nothing could be kept"
    assert planned(fits).dropped == {}
    one_less = fits.decoding.model_copy(update={"max_tokens": CONTEXT - room + 1})
    assert sum(planned(fits.model_copy(update={"decoding": one_less})).dropped.values()) > 20


def test_a_split_of_which_nothing_is_left_is_refused(configured: MakeConfig) -> None:
    rows = tuple(int(name[1:]) for name in ids(drawn(configured()))["validation"])
    with pytest.raises(InputError, match=rf"row 'r{rows[0]}' .*dropping leaves nothing of validation; lower dec"):
        planned(configured(long=rows, data=_data(configured, "drop")))


def test_an_answer_that_leaves_no_room_at_all_is_said_of_its_limit(configured: MakeConfig) -> None:
    with pytest.raises(InputError, match=r"^decoding\.max_tokens: found 512, but this model holds 512 tokens, pro"):
        planned(configured(decoding={"max_tokens": 512}))


def test_a_limit_that_is_learned_is_measured_with_the_problems_own(configured: MakeConfig) -> None:
    config = configured(decoding={"max_tokens": "learned"}, long=(number_in(configured(), "test", 0),))
    own = load_problem(config.single_problem).sampling.max_tokens
    splits = drawn(config)
    with pytest.raises(InputError, match=f"fit beside an answer of {own} "):
        make_plan(config, find_base_model(config.model), load_problem(config.single_problem), splits, limit=8)


def test_questions_that_are_generated_are_measured_as_well(config: MakeConfig) -> None:
    problem = {"name": "largest_number", "instruction": LONG + " {question}"}
    with pytest.raises(InputError, match=r"^data\.too_long: the prompt of selection row .*36 rows are too long"):
        check_inputs(config(problem=problem, decoding={"max_tokens": 64}))


def test_wordings_that_are_too_long_for_a_kept_row_alone_are_skipped(configured: MakeConfig) -> None:
    row = number_in(configured(), "test", 0)
    config = configured(long=(row,), data=_data(configured, "drop"), controls={"prompts": ["Well. {question}"]})
    plan = planned(config)
    assert plan.wordings is not None  # the dropped row would not fit with it
    assert list(plan.wordings.others) == ["Well. {question}"]


def test_a_training_split_is_measured_too(configured: MakeConfig) -> None:
    config = configured()
    used = {name for some in ids(drawn(config)).values() for name in some}
    spare = tuple(int(f"{i}") for i in range(N) if f"r{i}" not in used)
    section = {"examples": len(spare)}
    with pytest.raises(InputError, match=r"^data\.too_long: the prompt of training row"):
        check_inputs(configured(long=spare[:1], distillation=section))
    check_inputs(configured(long=spare[:1], distillation=section, data=_data(configured, "drop")))


def test_measuring_needs_no_pytorch(configured: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(configured().model_dump_json())
    program = (
        "import sys\nfrom pathlib import Path\nfrom thickets.flows.config.run import RunConfig\n"
        "from thickets.flows.config.preflight import check_inputs\n"
        "check_inputs(RunConfig.model_validate_json(Path(sys.argv[1]).read_text()))\nprint('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, path], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_is_said_of_a_thought_follows_from_the_prompts(configured: MakeConfig) -> None:
    config = configured()
    problem, splits = load_problem(config.single_problem), drawn(config)
    found = plan_prompts(config, Path(config.model), problem, splits)
    assert found.reasoning == ("<think>", "</think>", False)
    tags = {"decoding": {"max_tokens": 64, "reasoning": ["[assistant]", "</s>"]}}
    opened = plan_prompts(configured(**tags), Path(config.model), problem, splits)
    assert opened.reasoning == ("[assistant]", "</s>", True)
    [line] = opened.warnings
    assert line.startswith("decoding.reasoning: </s> is a special token of this model, and replies are read without")
    off = plan_prompts(configured(decoding={"max_tokens": 64, "reasoning": None}), Path(config.model), problem, splits)
    assert (off.reasoning, off.warnings) == (None, ())


def _data(configured: MakeConfig, too_long: str) -> dict[str, Any]:
    return {**configured().data.model_dump(), "too_long": too_long}
