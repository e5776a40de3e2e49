from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from thickets.flows.config.file import PRESETS, dump_config, load_config, parse_config, preset_names
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError

MINIMAL = {"problem": "largest_number"}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name: str) -> None:
    assert load_config(name).name == name


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
        ({"scoring": {"racing": {}}}, "scoring.racing", "scoring.examples_per_block is 256 and data.selection 200"),
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
