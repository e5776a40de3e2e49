"""A factor on a tensor is, bit for bit, another sigma on that tensor alone: in every kernel, engine and checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tasks.engines.test_average_weights import same_bits
from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.storage.models.base import resolve_model
from thickets.storage.models.manifest import NoiseIdentity
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.fused_weights import FusedWeights
from thickets.tasks.engines.noise_scale import settled
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.noise import Perturbation, noise
from thickets.tasks.noise.spec import Part, Row
from thickets.tasks.types import Average, Candidate, Merge, Weights

MEMBERS = (Candidate(1 << 40, 0.02), Candidate(7, 0.001))
WANTED: list[Weights] = [MEMBERS[0], Average(MEMBERS), Merge(MEMBERS, (0.75, -1.5))]
KINDS = ["candidate", "average", "merge"]
# Not exact in binary, so that rounding the product twice would show somewhere.
SCALE = (("*layernorm*", 0.0), ("*q_proj*", 0.1), ("*embed*", 0.3), ("*mlp*", 3.7))


def times(weights: Weights, factor: float) -> Weights:
    """The same with other sigmas, as anybody could have asked for."""
    if isinstance(weights, Candidate):
        return Candidate(weights.seed, weights.sigma * factor)
    members = tuple(Candidate(member.seed, member.sigma * factor) for member in weights.members)
    return replace(weights, members=members)


def factor_of(name: str) -> float:
    return next((f for word, f in (("layernorm", 0), ("q_proj", 0.1), ("embed", 0.3), ("mlp", 3.7)) if word in name), 1)


@pytest.mark.parametrize("wanted", WANTED, ids=KINDS)
@pytest.mark.parametrize("family", ["gaussian", "rademacher"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_parts_of_one_memory_have_factors_of_their_own(dtype: torch.dtype, family: str, wanted: Weights) -> None:
    parts = [
        Part(3, 60, "q", start=8, factor=0.1),
        Part(70, 24, "k", start=2, row=Row(6, 9)),
        Part(100, 40_000, "v", factor=0.1),
        Part(40_100, 5000, "o", factor=3.7),
    ]
    base = torch.randn(45_200, generator=torch.Generator().manual_seed(0)).to(dtype)
    live, expected = torch.zeros_like(base), base.clone()
    for part in parts:
        place = slice(part.at, part.at + part.size)
        options = {"name": part.name, "family": family, "start": part.start, "row": part.row}
        write_weights(expected[place], base[place], weights=times(wanted, part.factor), **options)
    writer = FusedWeights(live, base, parts, family)  # type: ignore[arg-type]
    writer.write(MEMBERS[1])
    writer.write(wanted)
    assert same_bits(live, expected)


def test_a_factor_is_one_product_in_float64_and_one_rounding() -> None:
    base, factor, sigma = torch.randn(4096, generator=torch.Generator().manual_seed(0)), 0.1, 1e-3
    live = torch.zeros_like(base)
    write_weights(live, base, name="w", weights=Candidate(5, sigma), family="gaussian", factor=factor)
    scale = torch.tensor(sigma * factor, dtype=torch.float64).float().numpy()
    assert same_bits(live, torch.from_numpy(base.numpy() + scale * noise(5, "w", 0, 4096)))
    # Rounding sigma first would be another candidate.
    twice = (torch.tensor(sigma).double() * factor).float().numpy()
    assert scale != twice


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("scaled") / "model", dtype=request.param)


def held(engine: TransformersEngine) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().reshape(-1).clone() for name, tensor in engine.model.named_parameters()}


@pytest.mark.parametrize("wanted", WANTED, ids=KINDS)
def test_the_engine_and_the_written_checkpoint_hold_it(tiny: Path, tmp_path: Path, wanted: Weights) -> None:
    scaled = Perturbation(scale=SCALE)
    engine = TransformersEngine(EngineSpec("transformers", tiny, scaled, device="cpu"))
    base = held(engine)
    engine.load(wanted)
    found = held(engine)
    for name, before in base.items():
        expected, factor = before.clone(), factor_of(name)
        if factor:
            write_weights(expected, before, name=name, weights=times(wanted, factor), family="gaussian")
            assert not torch.equal(expected, before)
        assert same_bits(found[name], expected), name
    engine.load(None)
    engine.prepare(wanted)
    engine.load(wanted)
    assert all(torch.equal(tensor, found[name]) for name, tensor in held(engine).items())

    write_checkpoint(tiny, tmp_path, wanted, scaled)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() <= found.keys()
    assert all(same_bits(tensor.reshape(-1), found[name]) for name, tensor in stored.items())


def test_factors_of_one_are_no_factors(tiny: Path) -> None:
    plain, ones = (
        TransformersEngine(EngineSpec("transformers", tiny, noise, device="cpu"))
        for noise in (Perturbation(), Perturbation(scale=(("*norm*", 1.0), ("*", 1.0))))
    )
    for wanted in WANTED:
        plain.load(wanted)
        ones.load(wanted)
        assert plain.weights_sha256() == ones.weights_sha256()


def test_a_pattern_that_matches_nothing_is_refused_with_what_is_near(tiny: Path) -> None:
    base = resolve_model(str(tiny))
    assert settled(Perturbation(), None, base) == Perturbation()
    with pytest.raises(InputError, match=r"noise.scale: found the pattern '\*nrom\*'.*near to it are norm.*model.norm"):
        settled(Perturbation(scale=(("*norm*", 0.5), ("*nrom*", 0.1))), None, base)
    with pytest.raises(InputError, match="leave no parameter"):
        settled(Perturbation(scale=(("*", 0.0),)), None, base)
    kept = settled(Perturbation(scale=(("*norm*", 0.5), ("*mlp*", 1.0))), None, base)
    assert kept.scale == (("*norm*", 0.5),)


def test_the_rule_fills_what_the_patterns_leave_and_becomes_plain_factors(tiny: Path) -> None:
    base = resolve_model(str(tiny))
    found = settled(Perturbation(exclude=("*mlp*",), scale=(("*norm*", 0.1),)), "balanced", base)
    engine = TransformersEngine(EngineSpec("transformers", tiny, found, device="cpu"))
    factors = {name: found.factor(name) for name in held(engine) if found.selects(name)}
    assert not any("mlp" in name for name in factors)
    assert {factor for name, factor in factors.items() if "norm" in name} == {0.1}
    others = [factor for name, factor in factors.items() if "norm" not in name]
    assert len(others) == 9
    assert len(set(others)) > 4
    kept = NoiseIdentity(version=1, family=found.family, include=["*"], exclude=["*mlp*"], scale=list(found.scale))
    assert Perturbation.of(NoiseIdentity.model_validate_json(kept.model_dump_json())) == found
    with pytest.raises(InputError, match="no parameter to give a factor to"):
        settled(Perturbation(scale=(("*", 0.1),)), "balanced", base)


def test_the_rule_sees_the_same_weights_in_float32_as_in_bfloat16(tmp_path: Path) -> None:
    narrow = make_tiny_model(tmp_path / "narrow", dtype=torch.bfloat16)
    wide = tmp_path / "wide"
    engine = TransformersEngine(EngineSpec("transformers", narrow, Perturbation(), device="cpu", dtype="float32"))
    engine.model.save_pretrained(wide)
    for found in narrow.glob("tokenizer*"):
        (wide / found.name).write_bytes(found.read_bytes())
    bases = [resolve_model(str(folder)) for folder in (narrow, wide)]
    first, second = (settled(Perturbation(), "balanced", base) for base in bases)
    assert bases[0].sha256 != bases[1].sha256
    assert first == second
