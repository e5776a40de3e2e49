"""Checkpoints whose tensors Transformers renames on loading: only the language model's change, by the stored names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    conversion_mapping,
)
from transformers.core_model_loading import Transpose, WeightConverter

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.tasks.distillation.training import check_can_learn
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.checkpoint import inspect_checkpoint
from thickets.tasks.engines.stored_names import stored_names
from thickets.tasks.engines.tokenizer import load_tokenizer, prompt_ids
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.noise import Perturbation
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.types import Candidate, Sampling

ASKED = ["1 + 1 =", "Which is larger, 17 or 4?"]
CANDIDATE = Candidate(seed=7, sigma=0.05)
TEXT: dict[str, Any] = {
    "vocab_size": 104,  # of the tiny model's tokenizer
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
QWEN_VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}


def gemma3() -> Any:
    text = {**TEXT, "head_dim": 8, "sliding_window": 64}
    return Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text, vision_config=VISION, mm_tokens_per_image=4, tie_word_embeddings=True)
    )


def qwen() -> Any:
    vision = {**QWEN_VISION, "fullatt_block_indexes": [0]}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config={**TEXT, "rope_parameters": ROPE}, vision_config=vision)
    )


def llava() -> Any:
    vision = CLIPVisionConfig(**VISION, projection_dim=32)
    return LlavaForConditionalGeneration(LlavaConfig(text_config=LlamaConfig(**TEXT), vision_config=vision))


# How each is made, where its language model is stored, and how many of its parameters are perturbed.
MADE: dict[str, tuple[Callable[[], Any], str, int]] = {
    "gemma 3": (gemma3, "language_model.model.", 28),
    "qwen 2.5 vl": (qwen, "model.", 27),
    "llava": (llava, "language_model.model.", 21),
}


def save(model: Any, folder: Path) -> Path:
    make_tiny_model(folder)  # for its tokenizer
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=list(MADE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save(MADE[kind][0](), tmp_path_factory.mktemp("renamed"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> TransformersEngine:
    return TransformersEngine(EngineSpec("transformers", folder, Perturbation(), device="cpu", dtype="float32"))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_the_base_answers_as_transformers_itself(engine: TransformersEngine, folder: Path) -> None:
    engine.load(None)
    answers = engine.generate(ASKED, Sampling(max_tokens=6))
    model, tokenizer = AutoModelForImageTextToText.from_pretrained(folder).eval(), load_tokenizer(folder)
    for row, answer in zip(prompt_ids(tokenizer, ASKED), answers, strict=True):
        made = model.generate(torch.tensor([row]), max_new_tokens=6, do_sample=False)[0, len(row) :].tolist()
        assert tokenizer.decode(made, skip_special_tokens=True) == answer.text


def test_a_candidate_changes_the_language_model_alone_by_the_noise_of_the_stored_names(
    engine: TransformersEngine, folder: Path, kind: str
) -> None:
    where, n_perturbed = MADE[kind][1:]
    engine.load(None)
    base = {name: parameter.clone() for name, parameter in engine.model.named_parameters()}
    engine.load(CANDIDATE)
    live = dict(engine.model.named_parameters())
    changed = {name for name in live if not torch.equal(live[name], base[name])}
    assert len(changed) == n_perturbed
    assert [name for name in changed if "vis" in name or "multi_modal" in name] == []
    names, files = stored_names(engine.model, folder), stored(folder)
    assert changed == names.perturbed(Perturbation()).keys()
    for parameter in changed:
        name = names.noise_names[parameter]
        assert name.startswith(where) or "lm_head" in name
        expected = perturbed(files[name].flatten().numpy(), dtype="float32", seed=7, sigma=0.05, name=name)
        assert np.array_equal(live[parameter].flatten().numpy(), expected)
    engine.load(None)
    assert all(torch.equal(parameter, base[name]) for name, parameter in engine.model.named_parameters())


def test_an_exported_candidate_is_the_engines_bit_for_bit(
    engine: TransformersEngine, folder: Path, tmp_path: Path
) -> None:
    checkpoint = inspect_checkpoint(folder)
    assert checkpoint.n_perturbed(Perturbation()) == engine.n_perturbed
    write_checkpoint(folder, tmp_path, CANDIDATE, Perturbation())
    engine.load(CANDIDATE)
    live = dict(engine.model.named_parameters())
    for name, parameter in AutoModelForImageTextToText.from_pretrained(tmp_path).named_parameters():
        assert torch.equal(parameter, live[name]), name


def test_a_model_that_reads_images_is_no_student(folder: Path) -> None:
    with pytest.raises(InputError, match=r"^distillation: mine reads images as well \((gemma3|qwen2_5_vl|llava)\)"):
        check_can_learn("mine", folder)


def test_names_that_no_table_renames_are_what_they_were(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    found = inspect_checkpoint(folder).perturbed(Perturbation())
    assert found
    assert all(name == noise_name for name, noise_name in found.items())


def test_merged_experts_are_refused_with_what_is_merged(tmp_path: Path) -> None:
    model = MixtralForCausalLM(MixtralConfig(**TEXT, num_local_experts=4, num_experts_per_tok=2))
    folder = save(model, tmp_path)
    says = r"gate_up_proj \[4, 96, 32\].*of 8 tensors, model\.layers\.0\..*\.w1\.weight and so on.*MergeModulelist"
    with pytest.raises(InputError, match=says):
        inspect_checkpoint(folder)
    with pytest.raises(InputError, match="mixtures of experts"):
        TransformersEngine(EngineSpec("transformers", folder, Perturbation(), device="cpu", dtype="float32"))


def test_a_vision_tower_that_is_loaded_in_another_form_does_not_refuse_the_language_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renames = conversion_mapping.get_checkpoint_conversion_mapping("llava")
    turned = WeightConverter(r"mlp\.fc1\.weight", "mlp.fc1.weight", [Transpose()])  # as others' towers are
    monkeypatch.setitem(conversion_mapping._checkpoint_conversion_mapping_cache, "llava", [*renames, turned])
    folder = save(llava(), tmp_path)
    found = inspect_checkpoint(folder)
    [tower] = found.names.without_noise
    assert tower.startswith("model.vision_tower.")
    assert len(found.perturbed(Perturbation())) == MADE["llava"][2]
    # The stored tensor goes through an export as it is.
    (tmp_path / "candidate").mkdir()
    write_checkpoint(folder, tmp_path / "candidate", CANDIDATE, Perturbation())
    one, other = stored(folder), stored(tmp_path / "candidate")
    assert {name for name in one if not torch.equal(one[name], other[name])} == found.perturbed(Perturbation()).keys()
    with pytest.raises(InputError, match=r"fc1\.weight \[48, 32\].*Transpose.*noise\.exclude"):
        found.perturbed(Perturbation(exclude=()))
