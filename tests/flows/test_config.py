from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
import yaml

from thickets.flows.config.file import PRESETS, dump_config, load_config, parse_config, preset_names
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError
from thickets.tasks.problems import load_problem

MINIMAL = {"problem": "largest_number"}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_its_problems_take_its_fields(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    for each in config.per_problem:
        assert load_problem(each.single_problem).name == each.single_problem.name  # no data is read


PAPER = ["countdown", "gsm8k", "math500", "mbpp", "olympiadbench", "uspto50k"]


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_s_tasks_have_the_paper_s_setting(name: str) -> None:
    config = load_config(name)
    assert config.single_problem.name == name
    assert (config.population.size, config.population.sigmas) == (5000, (5e-4, 1e-3, 2e-3))
    assert (config.data.selection, config.selection.k_values) == (200, (5, 10, 25, 50))
    assert config.model == "Qwen/Qwen2.5-3B-Instruct"


def test_there_are_presets() -> None:
    assert {"quickstart", "gsm8k"} <= set(preset_names())
    assert all(path.suffix == ".yaml" for path in PRESETS.iterdir() if path.is_file())


def test_defaults_are_the_paper_s() -> None:
    config = parse_config(MINIMAL)
    assert config.population.size == 5000
    assert config.population.sigmas == (5e-4, 1e-3, 2e-3)
    assert config.selection.k_values[-1] == 50
    assert config.data.selection == 200


@pytest.mark.parametrize(("size", "k_values"), [(5000, (5, 10, 25, 50)), (48, (5, 10, 25)), (3, (3,))])
def test_default_ensembles_fit_into_the_population(size: int, k_values: tuple[int, ...]) -> None:
    assert parse_config(MINIMAL | {"population": {"size": size}}).selection.k_values == k_values


def test_every_field_says_what_it_is_for() -> None:
    def silent(model: type, prefix: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            section = field.annotation
            if isinstance(section, type) and hasattr(section, "model_fields"):
                found += silent(section, f"{prefix}{name}.") + ([] if section.__doc__ else [f"{prefix}{name}"])
            elif not field.description:
                found.append(f"{prefix}{name}")
        return found

    assert silent(RunConfig) == []


def test_a_dumped_config_is_read_back_equal(tmp_path: Path) -> None:
    config = load_config("quickstart", ["population.seed=3", "engine.dtype=float32"])
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(str(tmp_path / "again.yaml")) == config


@pytest.mark.parametrize(("given", "read"), [("learned", "learned"), ("37", 37), ("null", None)])
def test_the_limit_of_answers_is_a_number_a_word_or_nothing(given: str, read: object, tmp_path: Path) -> None:
    config = load_config("quickstart", [f"decoding.max_tokens={given}"])
    assert config.decoding.max_tokens == read
    assert config.decoding.learns_limit == (given == "learned")
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(str(tmp_path / "again.yaml")) == config


def test_a_form_offers_the_limit_as_three_titled_choices() -> None:
    """What Prefect's page draws: a number, a choice of one word, or nothing."""
    schema = RunConfig.model_json_schema()["$defs"]["DecodingConfig"]["properties"]["max_tokens"]
    number, word, nothing = schema["anyOf"]
    assert (number["type"], number["title"], number["exclusiveMinimum"]) == ("integer", "a number", 0)
    assert (word["type"], word["title"], word["enum"]) == ("string", "learned", ["learned"])
    assert nothing == {"type": "null"}
    assert schema["default"] is None


def test_set_overrides_values_of_any_depth() -> None:
    config = load_config("quickstart", ["population.size=500", "population.sigmas=[0.001,0.002]", "problem.system=Hi"])
    assert (config.population.size, config.population.sigmas) == (500, (0.001, 0.002))
    assert config.problem.system == "Hi"


def test_set_extends_a_problem_given_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(MINIMAL))
    assert load_config(str(tmp_path / "my.yaml"), ["problem.options={count: 2}"]).problem.options == {"count": 2}


@pytest.mark.parametrize(
    ("changes", "field", "found"),
    [
        ({"populaton": {}}, "populaton", "unknown"),
        ({"population": {"sizes": 3}}, "population.sizes", "unknown"),
        ({"population": {"sigmas": [0.001, 0]}}, "population.sigmas[1]", "found 0"),
        ({"population": {"sigmas": [-1]}}, "population.sigmas[0]", "found -1"),
        ({"population": {"sigmas": [0.1, 0.1]}}, "population.sigmas", "twice"),
        ({"population": {"sigmas": []}}, "population.sigmas", "at least 1"),
        (
            {"population": {"size": 40}, "selection": {"k_values": [5, 50]}},
            "selection.k_values",
            "K = 50 experts of a population of 40",
        ),
        ({"selection": {"k_values": [5, 3]}}, "selection.k_values", "ascending"),
        ({"selection": {"methods": ["best"]}}, "selection.methods[0]", "found 'best'"),
        ({"selection": {"methods": []}}, "selection.methods", "at least 1"),
        ({"selection": {"votes": ["majority", "majority"]}}, "selection.votes", "twice"),
        ({"selection": {"vote": "weighted"}}, "selection.vote", "unknown"),
        ({"data": {"test": 0}}, "data.test", "found 0"),
        ({"engine": {"dtype": "int8"}}, "engine.dtype", "'int8'"),
        ({"name": "a b"}, "name", "'a b'"),
        ({"problem": {}}, "problem.name", "required"),
        ({"population": {"seed": 2**64}}, "population.seed", "found 18446744073709551616"),
        ({"decoding": {"max_tokens": 0}}, "decoding.max_tokens", "found 0; give a number of tokens greater than 0"),
        ({"decoding": {"max_tokens": "lerned"}}, "decoding.max_tokens", "found 'lerned'; give a number of tokens"),
        ({"decoding": {"max_tokens": [5]}}, "decoding.max_tokens", "found [5]; give a number of tokens"),
        ({"scoring": {"racing": {"z": 0}}}, "scoring.racing.z", "found 0"),
        ({"scoring": {"racing": {"keep": 1}}}, "scoring.racing.keep", "found 1"),
        ({"scoring": {"racing": {}}}, "scoring.racing", "is empty, here 256, and data.selection 200"),
        ({"scoring": {"racing": {}, "examples_per_block": 200}}, "scoring.racing", "for example 50"),
        (
            {"scoring": {"racing": {}, "examples_per_block": 50}, "selection": {"methods": ["top_k", "shrunken"]}},
            "scoring.racing",
            "selection.methods lists shrunken",
        ),
        ({"controls": {"prompts": ["Hm?"]}}, "controls.prompts", "[0] contains {question} 0 times: 'Hm?'"),
        ({"controls": {"prompts": ["{question}{question}"]}}, "controls.prompts", "2 times"),
        ({"controls": {"prompts": ["a {question}", "a {question}"]}}, "controls.prompts", "[1] is 'a {question}' once"),
    ],
)
def test_a_bad_value_is_one_line_with_field_and_finding(changes: dict, field: str, found: str) -> None:
    with pytest.raises(InputError) as error:
        parse_config(MINIMAL | changes)
    message = str(error.value)
    assert message.startswith(field)
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"populaton": {}}, "populaton: unknown field; did you mean population? allowed here: name, model, "),
        (
            {"population": {"sise": 3}},
            "population.sise: unknown field; did you mean population.size? allowed here: size, sigmas, seed, pilot",
        ),
        ({"engine": {"vllm": {"eagr": True}}}, "engine.vllm.eagr: unknown field; did you mean engine.vllm.eager? "),
        ({"sigmas": [0.1]}, "sigmas: unknown field; did you mean population.sigmas? allowed here: name, "),
        ({"population": {"temprature": 1}}, "population.temprature: unknown field; did you mean controls.temperature"),
        ({"population.size": 3}, "population.size: unknown field; did you mean population: {size: ...}? allowed"),
        ({"colour": 1}, "colour: unknown field; allowed here: name, model, "),
        (
            {"problem": None, "problems": ["signals", {"name": "largest_number", "sytem": "Hi"}]},
            "problems[1].sytem: unknown field; did you mean problems[1].system? allowed here: name, label, path, ",
        ),
        ({"population": 3}, "population: found 3; it is a section, with size, sigmas, seed, pilot"),
    ],
)
def test_an_unknown_field_is_told_the_nearest_one_and_what_is_allowed(changes: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_config(MINIMAL | changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_every_unknown_field_is_told_of_a_file_and_of_set(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(MINIMAL | {"data": {"tests": 5}, "modle": "x"}))
    with pytest.raises(InputError) as error:
        load_config(str(tmp_path / "my.yaml"), ["population.sise=3", "population.sed=1"])
    fields = {line.split(":")[0] for line in str(error.value).splitlines()}
    assert fields == {"data.tests", "modle", "population.sise", "population.sed"}
    assert all("did you mean " in line for line in str(error.value).splitlines())


def test_a_single_value_is_a_list_of_one_in_every_list_field() -> None:
    config = load_config(
        "quickstart",
        [
            "population.sigmas=0.01",
            "selection.k_values=3",
            "selection.methods=shrunken",
            "selection.votes=weighted",
            "noise.include=model.*",
            "noise.exclude=lm_head",
            "decoding.stop=</answer>",
            "controls.prompts=Now {question}",
        ],
    )
    assert config.population.sigmas == (0.01,)
    assert config.selection.k_values == (3,)
    assert (config.selection.methods, config.selection.votes) == (("shrunken",), ("weighted",))
    assert (config.noise.include, config.noise.exclude) == (("model.*",), ("lm_head",))
    assert (config.decoding.stop, config.controls.prompts) == (("</answer>",), ("Now {question}",))
    assert RunConfig(problem="largest_number", population={"sigmas": 0.1}).population.sigmas == (0.1,)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("population.sigmas=0", "population.sigmas[0]: found 0; "),
        ("population.sigmas=null", "population.sigmas: found None; input should be a list"),
        ("problems=largest_number", "problems: found ['largest_number']; list should have at least 2 items"),
    ],
)
def test_a_single_value_is_checked_as_the_list_s_only_item(override: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_config("quickstart", [override])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("text", ["0.01,0.02", "selection.methods=top_k,shrunken"])
def test_values_with_commas_are_told_how_a_list_is_written(text: str) -> None:
    field, _, value = text.rpartition("=")
    with pytest.raises(InputError, match=re.escape(f"(a list is written [{value}])")):
        load_config("quickstart", [f"{field or 'population.sigmas'}={value}"])


def test_factors_of_noise_keep_their_order_through_files_and_databases() -> None:
    config = parse_config(MINIMAL | {"noise": {"scale": {"z*": 0.1, "a*": 2}, "rule": "balanced"}})
    assert config.noise.scale == (("z*", 0.1), ("a*", 2.0))
    assert config.perturbation.scale == config.noise.scale
    # A database may sort the keys of a mapping; this is a list.
    assert config.model_dump(mode="json")["noise"]["scale"] == [["z*", 0.1], ["a*", 2.0]]
    assert parse_config(yaml.safe_load(dump_config(config))) == config
    assert load_config("quickstart", ["noise.scale={'*norm*': 0}"]).noise.scale == (("*norm*", 0.0),)
    assert parse_config(MINIMAL).noise.scale == ()
    assert parse_config(MINIMAL).noise.rule is None


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"scale": {"a*": -1}}, "noise.scale: found -1 for 'a*'; a factor must be a finite number, 0 or more"),
        ({"scale": {"a*": "half"}}, "noise.scale: found 'half' for 'a*'; "),
        ({"scale": {"a*": True}}, "noise.scale: found True for 'a*'; "),
        ({"scale": {"a*": float("inf")}}, "noise.scale: found inf for 'a*'; "),
        ({"scale": {"": 1}}, "noise.scale: found ('', 1); it must be a mapping from patterns"),
        ({"scale": 0.5}, "noise.scale: found 0.5; it must be a mapping from patterns"),
        ({"scale": [["a*", 1], ["a*", 2]]}, "noise.scale: found ['a*', 'a*'], a pattern twice"),
        ({"scale": {"a*": 1e-45}}, "noise.scale has 1e-45 for 'a*', which times sigma 0.0005 is no number above 0"),
        ({"rule": "spectral"}, "noise.rule: found 'spectral'; input should be 'balanced'"),
    ],
)
def test_a_bad_factor_of_noise_is_named(noise: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_config(MINIMAL | {"noise": noise})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_two_bad_values_are_two_lines() -> None:
    with pytest.raises(InputError) as error:
        parse_config(MINIMAL | {"data": {"test": 0, "selection": 0}})
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["data.selection", "data.test"]


@pytest.mark.parametrize("override", ["population.size", "=3", "name.x=1", "population.size=[1"])
def test_a_bad_override_is_refused(override: str) -> None:
    with pytest.raises(InputError, match=r"^--set"):
        load_config("quickstart", [override] if override != "name.x=1" else ["model=a", "model.x=1"])


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "1: 2\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(InputError, match=r"^config: "):
        load_config(str(tmp_path / "bad.yaml"))


def test_yaml_cannot_build_objects(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(InputError, match=r"^config: "):
        load_config(str(tmp_path / "bad.yaml"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("reasoning=[a, A]", "decoding.reasoning: found ['a', 'A']; give two different strings that are not empty"),
        ("reasoning=[a, ' ']", "decoding.reasoning: found ['a', ' ']; give two different strings that are not empty"),
        ("reasoning=[a, b, c]", "decoding.reasoning: found ['a', 'b', 'c']; give two different strings"),
        ("reasoning=<think>", "decoding.reasoning: found ['<think>']; give two different strings"),
        ("chat_template_kwargs.tools=1", "decoding.chat_template_kwargs: rendering a prompt sets tools itself; remove"),
        (
            "chat_template_kwargs={x: [1]}",
            "decoding.chat_template_kwargs: x is [1]; give a text, a finite number",
        ),
        ("chat_template_kwargs={x: .nan}", "decoding.chat_template_kwargs: x is nan; give a text, a finite number"),
        (
            "chat_template_kwargs=high",
            "decoding.chat_template_kwargs: found 'high'; give names and values",
        ),
    ],
)
def test_thoughts_and_values_for_the_chat_template_are_checked(change: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config("quickstart", [f"decoding.{change}"])
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("nothing", ["null", "[]"])
def test_no_thoughts_and_no_values_are_written_as_nothing(nothing: str) -> None:
    assert load_config("quickstart", [f"decoding.reasoning={nothing}"]).decoding.reasoning is None
    assert load_config("quickstart", ["decoding.chat_template_kwargs=null"]).decoding.chat_template_kwargs == {}


def test_values_for_the_chat_template_keep_their_types(tmp_path: Path) -> None:
    values = {"enable_thinking": False, "level": 1, "share": 0.5, "effort": "low", "nothing": None}
    config = load_config("quickstart", [f"decoding.chat_template_kwargs={json.dumps(values)}"])
    (tmp_path / "again.yaml").write_text(dump_config(config))
    again = load_config(str(tmp_path / "again.yaml")).decoding.chat_template_kwargs
    assert [(name, type(value), value) for name, value in again.items()] == [
        (name, type(value), value) for name, value in values.items()
    ]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mine.yaml", "mine"),
        ("My Run_1.2.yaml", "my-run_1.2"),
        ("my config (v2).yaml", "my-config-v2"),
        ("Übung.yaml", "ubung"),
        ("Straße 7.yaml", "strasse-7"),
        ("_draft.yaml", "draft"),
        ("实验1.yaml", "shi-yan-1"),
    ],
)
def test_a_name_from_a_file_s_is_a_valid_one(
    file: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / file).write_text("problem: largest_number\n", encoding="utf-8")
    with caplog.at_level(logging.INFO, "thickets"):
        assert load_config(str(tmp_path / file)).name == name
    looks_like_it = name == file.removesuffix(".yaml").lower().replace(" ", "-")
    said = [name in line and repr(Path(file).stem) in line for line in caplog.messages]
    assert said == ([] if looks_like_it else [True])


def test_names_from_long_and_from_strange_file_names_differ(tmp_path: Path) -> None:
    names = []
    for stem in ("x" * 60 + "1", "x" * 60 + "2", "🙂", "🙃", "!"):
        (tmp_path / f"{stem}.yaml").write_text("problem: largest_number\n", encoding="utf-8")
        names.append(load_config(str(tmp_path / f"{stem}.yaml")).name)
    assert len(set(names)) == len(names)
    assert all(len(name) <= 41 for name in names)


def test_a_name_that_somebody_wrote_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "my (v2).yaml").write_text("name: My (v2)\nproblem: largest_number\n")
    with pytest.raises(InputError, match="name: 'My"):
        load_config(str(tmp_path / "my (v2).yaml"))
