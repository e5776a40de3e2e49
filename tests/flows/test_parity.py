"""`thickets parity` from the command line: what it counts, what it shows, what it refuses, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.flows.command_line import refused
from thickets.flows.config.file import dump_config, load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.parity import compare_engines, engine_config
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, build_engine
from thickets.tasks.types import Candidate, Completion, Sampling


@pytest.fixture
def transformers_config(config: Callable[..., RunConfig]) -> RunConfig:
    return config(engine={"kind": "transformers", "device": "cpu", "batch_size": 5})


@pytest.fixture
def my_yaml(transformers_config: RunConfig, tmp_path: Path) -> str:
    (tmp_path / "my.yaml").write_text(dump_config(transformers_config))
    return str(tmp_path / "my.yaml")


def test_another_dtype_differs_and_says_where(thickets, my_yaml: str, tmp_path: Path) -> None:
    arguments = ("parity", my_yaml, "--b", "transformers:dtype=bfloat16", "--candidates", "3")
    status, out, err = thickets(*arguments, "--json")
    found = json.loads(out)
    assert status == 0
    assert (found["n_examples"], found["split"], found["problem"]) == (12, "selection", "largest_number")
    assert (found["a"]["dtype"], found["b"]["dtype"]) == ("float32", "bfloat16")
    assert (found["a"]["batch_size"], found["b"]["batch_size"]) == (5, 5)
    parity = found["parity"]
    assert len(parity["candidates"]) == 4
    assert parity["candidates"][0]["candidate_id"] == "base"
    assert parity["n"] == 4 * 12 == sum(row["n"] for row in parity["candidates"])
    assert 0 < parity["n_same_text"] < parity["n"]
    first = parity["divergences"][0]
    assert first["completion_a"] != first["completion_b"]
    assert first["completion_a"][: first["position"]] == first["completion_b"][: first["position"]]
    assert "engine B (transformers): 4 of 4" in err
    assert not (tmp_path / "home").exists()

    status, out, _ = thickets(*arguments, "--differences", "2")
    assert status == 0
    assert f"{parity['n_same_text']}/48" in out
    assert f"{parity['n_same_answer']}/48" in out
    assert "B: transformers device=cpu dtype=bfloat16 batch_size=5" in out
    assert out.count("they part at character") == 2
    assert first["question"] in out


def test_an_engine_beside_itself_is_equal_everywhere(thickets, my_yaml: str) -> None:
    status, out, _ = thickets("parity", my_yaml, "--b", "transformers", "--candidates", "1")
    assert status == 0
    assert "24/24 (100.0 %)" in out
    assert "differing" not in out


def test_the_candidates_are_the_first_of_the_population_and_only_they(transformers_config: RunConfig) -> None:
    asked: list[list[str]] = []

    class Fake:
        """Answers with who it is; engine B forgets what the second candidate answered."""

        def __init__(self, spec: EngineSpec) -> None:
            assert not asked or asked[-1][-1] == "closed"  # one engine at a time
            asked.append([])
            self._batch_size = spec.batch_size

        def load(self, candidate: Candidate | None) -> None:
            self._who = "base" if candidate is None else candidate.id
            asked[-1].append(self._who)

        def prepare(self, candidate: Candidate) -> None: ...

        def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
            assert sampling.max_tokens == 8
            forgets = self._batch_size == 2 and asked[-1].index(self._who) == 2
            return [Completion("7" if not forgets else "", 1, "stop") for _ in prompts]

        def close(self) -> None:
            asked[-1].append("closed")

    other = transformers_config.model_copy(
        update={"engine": transformers_config.engine.model_copy(update={"batch_size": 2})}
    )
    found = compare_engines(transformers_config, transformers_config, other, n_candidates=2, build=Fake)
    assert asked[0] == asked[1]
    assert [row.n_same_text for row in found.parity.candidates] == [12, 12, 0]
    more = compare_engines(transformers_config, transformers_config, other, n_candidates=9, build=Fake)
    assert [row.candidate_id for row in more.parity.candidates[:3]] == asked[0][:3]


def test_a_learned_limit_is_left_out_so_that_both_engines_have_the_same(config: Callable[..., RunConfig]) -> None:
    learned = config(decoding={"max_tokens": "learned"})
    asked = []

    def build(spec: EngineSpec):
        engine = build_engine(spec)
        generate = engine.generate
        engine.generate = lambda prompts, sampling: (asked.append(sampling.max_tokens), generate(prompts, sampling))[1]  # type: ignore[method-assign]
        return engine

    found = compare_engines(learned, learned, learned, n_candidates=1, build=build)
    assert found.parity.n_same_text == found.parity.n == 24
    assert set(asked) == {12}, "the problem's own"


def test_an_engine_is_closed_even_if_it_fails(transformers_config: RunConfig) -> None:
    engines = []

    def build(spec: EngineSpec):
        engine = build_engine(spec)
        close, closed = engine.close, []
        engine.generate = lambda prompts, sampling: 1 / 0  # type: ignore[method-assign]
        engine.close = lambda: (closed.append(True), close())  # type: ignore[method-assign]
        engines.append(closed)
        return engine

    with pytest.raises(ZeroDivisionError):
        compare_engines(transformers_config, transformers_config, transformers_config, n_candidates=0, build=build)
    assert engines == [[True]]


def test_fields_replace_those_of_the_config_and_leave_the_rest(my_yaml: str) -> None:
    found = engine_config(my_yaml, ["engine.threads=1"], "--a", "transformers:batch_size=16, dtype=bfloat16").engine
    assert (found.batch_size, found.dtype, found.threads, found.device) == (16, "bfloat16", 1, "cpu")
    assert engine_config(my_yaml, [], "--a", "") == load_config(my_yaml)
    assert engine_config(my_yaml, [], "--a", "auto").engine.kind == "auto"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transformer", "--b: engine.kind: found 'transformer'"),
        ("transformers:batch_sise=3", "--b: engine.batch_sise: unknown field"),
        ("transformers:batch_size=0", "--b: engine.batch_size: found 0"),
        ("transformers:batch_size", "--b: found 'transformers:batch_size'; give KIND[:FIELD=VALUE,...]"),
        ("transformers:", "--b: found 'transformers:'; give KIND"),
        (":batch_size=3", "--b: found ':batch_size=3'; give KIND"),
        ("transformers:dtype=bfloat16,3", "--b: engine.dtype: found 'bfloat16,3'"),
    ],
)
def test_a_bad_engine_is_one_line_with_the_option_and_the_field(
    thickets, my_yaml: str, text: str, message: str
) -> None:
    assert refused(thickets("parity", my_yaml, "--b", text)).startswith(message)


def test_a_bad_config_is_not_blamed_on_an_engine(thickets, my_yaml: str) -> None:
    message = refused(thickets("parity", my_yaml, "--b", "transformers", "--set", "population.sise=3"))
    assert message.startswith("population.sise: unknown field")


def test_more_candidates_than_there_are_is_refused(thickets, my_yaml: str) -> None:
    message = refused(thickets("parity", my_yaml, "--b", "transformers", "--candidates", "10"))
    assert message.startswith("--candidates: found 10; this population has 9")


def test_a_second_engine_that_cannot_be_is_told_before_the_first_is_built(transformers_config: RunConfig) -> None:
    other = transformers_config.model_copy(
        update={"engine": transformers_config.engine.model_copy(update={"device": "nonsense"})}
    )
    with pytest.raises(InputError, match=r"engine\.device"):
        compare_engines(transformers_config, transformers_config, other, n_candidates=0, build=lambda spec: 1 / 0)  # type: ignore[arg-type,return-value]


def test_the_command_has_help_with_an_example(thickets) -> None:
    status, out, _ = thickets("parity", "--help")
    assert status == 0
    assert "Example: " in out
    assert "thickets parity" in out
