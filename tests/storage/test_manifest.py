"""A saved ensemble reads back as it was, and a damaged file says what is wrong."""

from __future__ import annotations

import json

import pytest

from thickets.storage.errors import InputError
from thickets.storage.models.manifest import BaseIdentity, EnsembleManifest, ManifestExpert, NoiseIdentity


@pytest.fixture
def manifest() -> EnsembleManifest:
    return EnsembleManifest(
        base=BaseIdentity(name="someone/tiny", revision="main", sha256="a" * 64),
        noise=NoiseIdentity(version=1, family="gaussian", include=["*"], exclude=["visual.*"]),
        experts=[
            ManifestExpert(rank=1, seed=2**64 - 1, sigma=5e-4, n_correct=120, weight=120),
            ManifestExpert(rank=2, seed=2**53 + 1, sigma=0.1 + 0.2, n_correct=119, weight=118),
        ],
        problem={"name": "countdown", "data_sha256": "b" * 64},
        prompt_template={"name": "default"},
        decoding={"max_tokens": 256, "stop": ["\n\n"]},
        method="top_k",
        vote="majority",
        fingerprint="c" * 64,
        problem_config={"name": "countdown"},
        engine={"kind": "transformers"},
    )


def test_round_trip_keeps_every_bit(manifest, tmp_path):
    path = tmp_path / "new" / "manifest.json"
    manifest.save(path)
    assert EnsembleManifest.load(path) == manifest
    assert [item.name for item in path.parent.iterdir()] == ["manifest.json"]


def test_seeds_are_decimal_strings_in_json(manifest, tmp_path):
    manifest.save(tmp_path / "m.json")
    experts = json.loads((tmp_path / "m.json").read_text())["experts"]
    assert [expert["seed"] for expert in experts] == ["18446744073709551615", "9007199254740993"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format_version",), 3, "format_version"),
        (("base", "sha256"), "short", r"base\.sha256"),
        (("experts",), [], "experts"),
        (("experts", 1, "rank"), 3, "ranks 1 to 2 in order"),
        (("experts", 1, "seed"), "18446744073709551616", r"experts\.1\.seed"),
        (("experts", 1, "seed"), "-1", r"experts\.1\.seed"),
        (("experts", 1, "seed"), "1_0", r"experts\.1\.seed"),
        (("experts", 1, "seed"), 1.0, r"experts\.1\.seed"),
        (("experts", 0, "sigma"), 0, r"experts\.0\.sigma"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_wrong_fields_are_named(manifest, tmp_path, path, value, message):
    content = json.loads(manifest.model_dump_json())
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        EnsembleManifest.load(tmp_path / "m.json")
    assert "\n" not in str(caught.value)


def test_same_expert_twice_is_refused(manifest):
    with pytest.raises(ValueError, match="same seed and sigma"):
        EnsembleManifest(
            **(
                manifest.model_dump()
                | {"experts": [{"rank": i, "seed": 1, "sigma": 1, "n_correct": 0, "weight": 0} for i in (1, 2)]}
            )
        )


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_absent_and_broken_files_are_input_errors(tmp_path, content):
    if content is not None:
        (tmp_path / "m.json").write_text(content)
    with pytest.raises(InputError, match=r"m\.json") as caught:
        EnsembleManifest.load(tmp_path / "m.json")
    assert "\n" not in str(caught.value)


def test_factors_are_kept_in_their_order_and_absent_without_any(manifest, tmp_path):
    manifest.save(tmp_path / "plain.json")
    plain = json.loads((tmp_path / "plain.json").read_text())
    assert plain["noise"] == {"version": 1, "family": "gaussian", "include": ["*"], "exclude": ["visual.*"]}
    scale = [("z*", 0.1), ("a*", 0.0)]
    noise = manifest.noise.model_copy(update={"scale": scale})
    manifest.model_copy(update={"noise": noise}).save(tmp_path / "scaled.json")
    scaled = EnsembleManifest.load(tmp_path / "scaled.json")
    assert scaled.noise.scale == scale
    assert json.loads((tmp_path / "scaled.json").read_text())["noise"]["scale"] == [["z*", 0.1], ["a*", 0.0]]
