"""The deployments as Python and as prefect.yaml have them, their forms, and the work-pool templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.server.schemas.actions import WorkPoolCreate
from prefect.utilities.schema_tools.validation import is_valid_schema, validate

from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.deployments import POOL
from thickets.flows.deployments.client import deployment_of, start, submit
from thickets.flows.deployments.definitions import Definition, definitions
from thickets.storage.errors import InputError

FOLDER = Path(__file__).parents[3] / "deployments"


def test_prefect_yaml_says_the_same() -> None:
    found = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]
    assert len(found) == len(definitions())
    for row, definition in zip(found, definitions(), strict=True):
        assert (row["entrypoint"], row["name"]) == (definition.entrypoint, definition.name)
        assert row["work_pool"] == {"name": POOL}
        assert row["tags"] == list(definition.tags)
        assert row["enforce_parameter_schema"] is True
        assert row.get("parameters", {}) == definition.parameters
        schedules = [{"cron": definition.cron, "timezone": "UTC", "active": False}] if definition.cron else []
        assert row.get("schedules", []) == schedules


@pytest.mark.parametrize("definition", definitions(), ids=lambda each: each.full_name)
def test_what_a_form_is_filled_with_can_be_submitted(definition: Definition) -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(definition.flow).model_dump()
    is_valid_schema(schema)
    asked = {"model": "latest", "data": "new.jsonl"} if definition.name == "evaluation" else {}
    assert validate(definition.parameters | asked, schema, raise_on_error=True) == []
    if "config" in definition.parameters:
        config = parse_config(definition.parameters["config"])
        assert config.population.size < 100, "a click on Run must not start days of work"


def test_every_field_of_the_form_is_explained() -> None:
    schema = RunConfig.model_json_schema()
    unexplained = [
        f"{name}.{field}"
        for name, section in {"RunConfig": schema, **schema["$defs"]}.items()
        for field, value in section.get("properties", {}).items()
        if "description" not in value and "$ref" not in value
    ]
    assert unexplained == []


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_work_pool_template_passes_prefects_own_check(kind: str) -> None:
    template: dict[str, Any] = json.loads((FOLDER / "work-pools" / f"{kind}.json").read_text())
    pool = WorkPoolCreate(name="thickets", type=kind, base_job_template=template)
    assert pool.base_job_template == template
    is_valid_schema(template["variables"])
    defaults = {
        name: each["default"] for name, each in template["variables"]["properties"].items() if "default" in each
    }
    assert validate(defaults, template["variables"], raise_on_error=True) == []
    unknown = json.loads(json.dumps(template).replace("{{ image }}", "{{ imag }}"))
    with pytest.raises(ValueError, match="imag"):
        WorkPoolCreate(name="thickets", type=kind, base_job_template=unknown)


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({"problem": "gsm8k", "model": "HuggingFaceTB/SmolLM2-135M-Instruct"}, "gsm8k-smollm2-135m"),
        ({"problem": "reasoning_gym:chain_sum", "model": "x.gguf"}, "reasoning-gym-chain-sum-x"),
        ({"problem": "gsm8k", "name": "mine"}, "mine"),
        ({"problem": {"name": "file", "path": "my_reviews.csv"}, "model": "x.gguf"}, "my-reviews-x"),
        ({"problem": {"name": "signals", "label": "Small waves"}, "model": "x.gguf"}, "Small-waves-x"),
    ],
)
def test_a_run_is_called_after_what_it_is_about(values: dict[str, Any], label: str) -> None:
    if values["problem"] == "gsm8k":
        values = values | {"problem": {"name": "gsm8k", "path": "train.jsonl"}}
    assert parse_config(values).label == label


def test_a_client_sends_no_folder_of_its_own() -> None:
    config = parse_config({"problem": "largest_number", "storage": {"home": "here"}})
    with pytest.raises(InputError, match=r"storage\.home"):
        start(config)


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"problem": "largest_number"}, "randopt/search"),
        ({"problems": ["largest_number", "signals"]}, "randopt-many/search"),
        ({"problem": "largest_number", "merge": {}, "rounds": {}}, "randopt-rounds/search"),
    ],
)
def test_a_configuration_goes_to_the_deployment_for_it(sections: dict[str, Any], name: str) -> None:
    config = parse_config(sections)
    assert deployment_of(config) == name
    assert name in {each.full_name for each in definitions()}
    if name != "randopt/search":
        with pytest.raises(InputError, match=r"several runs where one is wanted; start it with `start\(config\)`"):
            submit(config)
