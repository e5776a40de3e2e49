from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.storage.models.base import resolve_model
from thickets.tasks.engines import EngineSpec, build_engine, resolve_spec
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation, noise
from thickets.tasks.types import Candidate, Sampling

PROMPTS = [f"[user] number {i}?\n[assistant] " for i in range(6)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def engine(folder: Path, **changes) -> TransformersEngine:
    return TransformersEngine(EngineSpec("transformers", folder, **({"perturbation": Perturbation()} | changes)))


def parameters(held: TransformersEngine) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in held._model.named_parameters()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_after_200_candidates_the_base_is_what_it_was_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    held = engine(make_tiny_model(tmp_path, dtype=dtype))
    before, digest = parameters(held), held.weights_sha256()
    for seed in range(200):
        held.load(Candidate(seed, 0.01))
    assert held.weights_sha256() != digest
    held.load(None)
    assert held.weights_sha256() == digest
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(held).items())


def test_a_candidate_is_the_base_plus_its_noise_whatever_was_loaded_before(tiny_model: Path) -> None:
    held = engine(tiny_model)
    base = parameters(held)
    held.load(Candidate(1, 0.3))
    held.load(Candidate(2**63 + 5, 0.02))
    for name, tensor in parameters(held).items():
        z = noise(2**63 + 5, name, 0, tensor.numel())
        expected = base[name].numpy().ravel() + np.float32(0.02) * z
        assert np.array_equal(tensor.numpy().ravel(), expected)


def test_tied_embeddings_are_perturbed_once_and_stay_tied(tiny_model: Path) -> None:
    held = engine(tiny_model)
    held.load(Candidate(3, 0.1))
    assert held._model.lm_head.weight.data_ptr() == held._model.model.embed_tokens.weight.data_ptr()


def test_excluded_parameters_are_left_alone(tiny_model: Path) -> None:
    held = engine(tiny_model, perturbation=Perturbation(exclude=("*.mlp.*",)))
    before = parameters(held)
    held.load(Candidate(3, 0.1))
    changed = {name for name, tensor in parameters(held).items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if ".mlp." not in name}


def test_a_resident_engine_answers_like_a_fresh_one_on_the_saved_candidate(tmp_path: Path, tiny_model: Path) -> None:
    held = engine(tiny_model)
    fresh = {}
    for seed in (1, 2):
        held.load(Candidate(seed, 0.05))
        held._model.save_pretrained(tmp_path / str(seed))
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / str(seed))
        fresh[seed] = engine(tmp_path / str(seed)).generate(PROMPTS, Sampling(16))
    assert fresh[1] != fresh[2]
    # Back and forth: keys and values of another candidate's prompt prefix must never be used.
    for seed in (1, 2, 1):
        held.load(Candidate(seed, 0.05))
        assert held.generate(PROMPTS, Sampling(16)) == fresh[seed]


def test_a_model_without_a_usable_name_for_a_weight_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.fused"] = weights.pop("model.layers.0.self_attn.q_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"^model: parameter model\.layers\.0\.self_attn\.q_proj\.weight"):
        engine(folder)


def test_patterns_that_leave_nothing_are_refused(tiny_model: Path) -> None:
    with pytest.raises(InputError, match=r"noise\.include/exclude"):
        engine(tiny_model, perturbation=Perturbation(include=("nothing.*",)))


def test_a_prompt_that_does_not_fit_is_refused(tiny_model: Path) -> None:
    with pytest.raises(InputError, match=r"decoding\.max_tokens: the longest prompt has 600 tokens .* at most 512"):
        engine(tiny_model).generate(["a" * 600, "b"], Sampling(8))


@pytest.mark.parametrize("device", ["nonsense", "cuda:0"])
def test_a_device_that_is_not_here_is_refused(tiny_model: Path, device: str) -> None:
    if device == "cuda:0" and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(InputError, match=r"engine\.device"):
        resolve_spec(EngineSpec("auto", tiny_model, Perturbation(), device=device))


def test_weights_made_ahead_are_those_of_the_candidate_they_are_for(tiny_model: Path) -> None:
    held = engine(tiny_model, prefetch=True)
    plain = engine(tiny_model, prefetch=False)
    one, other = Candidate(1, 0.1), Candidate(2, 0.05)

    def bits(which: TransformersEngine, candidate: Candidate | None) -> str:
        which.load(candidate)
        return which.weights_sha256()

    expected = {candidate: bits(plain, candidate) for candidate in (None, one, other)}
    plain.prepare(other)
    assert bits(plain, one) == expected[one]
    for loaded, ahead in [(None, one), (one, other), (other, one), (None, other), (one, None), (other, None)]:
        if ahead is not None:
            held.prepare(ahead)
        assert bits(held, loaded) == expected[loaded]
    held.prepare(one)
    assert held.weights_sha256() == expected[other]  # what is being made is not yet what is answered with
    assert bits(held, one) == expected[one]
    assert bits(held, None) == expected[None]
    held.close()


def test_auto_means_transformers_on_the_best_device_without_vllm(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: False)
    spec = resolve_spec(EngineSpec("auto", tiny_model, Perturbation()))
    assert (spec.kind, spec.device) == ("transformers", "cuda" if torch.cuda.is_available() else "cpu")
    assert isinstance(build_engine(spec), TransformersEngine)


def test_the_real_model_is_restored_and_shares_its_prefix_correctly() -> None:
    held = engine(resolve_model("smollm2-135m-instruct").path, dtype="float32")
    assert held.n_perturbed == 134_515_008
    digest = held.weights_sha256()
    held.load(Candidate(11, 0.003))
    tokenizer = held._tokenizer
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": f"Which is the largest number: {a}, {b} or {c}? Reply with just the number."}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for a, b, c in [(1, 22, 333), (987, 65, 4), (120, 210, 201), (5, 50, 500)]
    ]
    ours = held.generate(prompts, Sampling(12))
    for prompt, completion in zip(prompts, ours, strict=True):
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        output = held._model.generate(**inputs, max_new_tokens=12, do_sample=False)
        expected = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert completion.text == expected
    held.load(None)
    assert held.weights_sha256() == digest


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_holds_the_same_candidate_as_the_cpu(tiny_model: Path) -> None:
    on_gpu, on_cpu = engine(tiny_model, device="cuda"), engine(tiny_model, device="cpu")
    for held in (on_gpu, on_cpu):
        held.load(Candidate(9, 0.02))
    assert on_gpu.weights_sha256() == on_cpu.weights_sha256()


def test_the_saved_base_of_a_half_precision_model_keeps_its_dtype(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path, dtype=torch.bfloat16)
    assert engine(folder)._model.dtype == torch.bfloat16
    assert engine(folder, dtype="float32")._model.dtype == torch.float32
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
