"""What fits on which card, from the shapes of real models; nothing here has a GPU, so the constants are estimates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, Qwen2Config

from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.memory_plan import GIB, Card, MemorySettings, plan_memory
from thickets.tasks.engines.model_size import ModelSize, measure_model, size_of
from thickets.tasks.noise import Perturbation

# What the driver reports: A10G or RTX 4090, A100-40, L40S, H100-80, H200.
CARDS = {"24 GB": 22.5, "40 GB": 39.4, "48 GB": 44.4, "80 GB": 79.1, "141 GB": 139.7}
BATCH, ROW = 256, 768  # GSM8K: 512 new tokens


def qwen(layers: int, hidden: int, inner: int, heads: int, kv: int, vocabulary: int, *, tied: bool) -> ModelSize:
    return measured(
        Qwen2Config, layers, hidden, inner, heads, kv, vocabulary, head_dim=hidden // heads, biases=True, tied=tied
    )


def measured(
    config: Any,
    layers: int,
    hidden: int,
    inner: int,
    heads: int,
    kv: int,
    vocabulary: int,
    *,
    head_dim: int,
    tied: bool,
    biases: bool = False,
    norms: int = 2,
) -> ModelSize:
    """The tensors that such a checkpoint stores, with their shapes, in bfloat16."""
    shapes: dict[str, list[int]] = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    if not tied:
        shapes["lm_head.weight"] = [vocabulary, hidden]
    for layer in range(layers):
        at = f"model.layers.{layer}"
        shapes[f"{at}.self_attn.q_proj.weight"] = [heads * head_dim, hidden]
        shapes[f"{at}.self_attn.o_proj.weight"] = [hidden, heads * head_dim]
        shapes |= {f"{at}.self_attn.{name}_proj.weight": [kv * head_dim, hidden] for name in "kv"}
        if biases:
            shapes |= {f"{at}.self_attn.{n}_proj.bias": [(heads if n == "q" else kv) * head_dim] for n in "qkv"}
        shapes |= {f"{at}.mlp.{name}_proj.weight": [inner, hidden] for name in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = [hidden, inner]
        shapes |= {f"{at}.norm{number}.weight": [hidden] for number in range(norms)}
    made = config(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        vocab_size=vocabulary,
        head_dim=head_dim,
    )
    return size_of(made, shapes, item_bytes=2)


MODELS = {
    "Qwen2.5-0.5B": qwen(24, 896, 4864, 14, 2, 151936, tied=True),
    "Qwen2.5-1.5B": qwen(28, 1536, 8960, 12, 2, 151936, tied=True),
    "Qwen2.5-3B": qwen(36, 2048, 11008, 16, 2, 151936, tied=True),
    "Qwen2.5-7B": qwen(28, 3584, 18944, 28, 4, 152064, tied=False),
    "Llama-3.1-8B": measured(LlamaConfig, 32, 4096, 14336, 32, 8, 128256, head_dim=128, tied=False),
    "Gemma-2-9B": measured(Gemma2Config, 42, 3584, 14336, 16, 8, 256000, head_dim=256, tied=True, norms=4),
    "Qwen2.5-14B": qwen(48, 5120, 13824, 40, 8, 152064, tied=False),
}
# As their makers count them.
N_BILLION = (0.494, 1.544, 3.086, 7.616, 8.030, 9.242, 14.770)


def card(gib: float, *, free: float | None = None, host: float | None = 256) -> Card:
    given = gib - 0.5 if free is None else free
    return Card(int(gib * GIB), int(given * GIB), None if host is None else int(host * GIB))


def vllm(**changes: Any) -> MemorySettings:
    return replace(MemorySettings("vllm", BATCH, ROW), **changes)


@pytest.mark.parametrize(("name", "billion"), zip(MODELS, N_BILLION, strict=True), ids=list(MODELS))
def test_the_shapes_are_those_of_the_real_models(name: str, billion: float) -> None:
    assert MODELS[name].weights_bytes / 2e9 == pytest.approx(billion, abs=0.001)


# Where the base is and how many of 256 rows of 768 tokens have room at once; None: refused. The columns are `CARDS`.
TABLE: dict[str, tuple[str | None, ...]] = {
    "Qwen2.5-0.5B": ("device 256", "device 256", "device 256", "device 256", "device 256"),
    "Qwen2.5-1.5B": ("device 256", "device 256", "device 256", "device 256", "device 256"),
    "Qwen2.5-3B": ("device 191", "device 256", "device 256", "device 256", "device 256"),
    "Qwen2.5-7B": ("host 47", "host 256", "device 176", "device 256", "device 256"),
    "Llama-3.1-8B": ("host 13", "host 169", "host 215", "device 256", "device 256"),
    "Gemma-2-9B": (None, "host 50", "host 67", "host 189", "device 256"),
    "Qwen2.5-14B": (None, "host 20", "host 51", "host 256", "device 256"),
}


def shown(model: ModelSize, on: Card, settings: MemorySettings) -> str | None:
    try:
        plan = plan_memory(on, model, settings)
    except InputError:
        return None
    return f"{plan.base_copy} {plan.rows}"


@pytest.mark.parametrize("name", MODELS)
def test_what_fits_on_which_card_with_vllm(name: str) -> None:
    assert tuple(shown(MODELS[name], card(gib), vllm()) for gib in CARDS.values()) == TABLE[name]


@pytest.mark.parametrize("gib", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("name", MODELS)
def test_no_plan_takes_more_than_it_may(name: str, gib: float) -> None:
    on = card(gib)
    for settings in (vllm(), vllm(batch_size=1024), MemorySettings("transformers", 64, ROW)):
        if shown(MODELS[name], on, settings) is None:
            continue
        plan = plan_memory(on, MODELS[name], settings)
        assert plan.fixed_bytes + plan.kv_bytes <= plan.budget_bytes <= 0.9 * on.total_bytes
        assert 0 < plan.share < 0.9, "vLLM starts only if so much is free"
        assert plan.rows <= settings.batch_size


def test_keys_and_values_are_what_the_batch_can_use_and_no_more() -> None:
    plan = plan_memory(card(79.1), MODELS["Qwen2.5-7B"], vllm(batch_size=64))
    assert plan.kv_bytes / GIB == pytest.approx(2.7, abs=0.1), "not the 45 GiB that vLLM would take"


def test_a_model_over_several_cards_is_cut_but_for_its_base() -> None:
    alone, half = (plan_memory(card(139.7), MODELS["Qwen2.5-14B"], vllm(tensor_parallel=n)) for n in (1, 2))
    assert (half.weights_bytes, half.base_bytes) == (alone.weights_bytes // 2, alone.base_bytes)
    assert half.kv_bytes == alone.kv_bytes // 2
    # Two heads of keys and values are not cut in four.
    four = plan_memory(card(79.1), MODELS["Qwen2.5-0.5B"], vllm(tensor_parallel=4))
    assert four.kv_bytes == plan_memory(card(79.1), MODELS["Qwen2.5-0.5B"], vllm(tensor_parallel=2)).kv_bytes


def test_transformers_keeps_the_whole_batch_and_the_base_makes_way_for_it() -> None:
    settings = MemorySettings("transformers", 64, ROW)
    rows = [shown(MODELS["Qwen2.5-7B"], card(gib), settings) for gib in CARDS.values()]
    assert rows == ["host 23", "host 64", "host 64", "device 64", "device 64"]
    unknown = replace(settings, row_tokens=None)
    assert plan_memory(card(39.4), MODELS["Qwen2.5-7B"], unknown).base_copy == "device"


def test_a_base_that_is_wanted_in_host_memory_is_there() -> None:
    assert shown(MODELS["Qwen2.5-0.5B"], card(79.1), vllm(base_copy="host")) == "host 256"


REFUSED = {
    "needs 32.6 GiB of the GPU's memory (weights 27.5, CUDA and graphs 2.0, a load or a step 2.9, keys and values of "
    "one row 0.15; the base in host memory), and 20.2 of 22.5 GiB may be used; set engine.vllm.tensor_parallel to 2": (
        "Qwen2.5-14B",
        card(22.5),
        vllm(),
    ),
    "and 9.0 of 10.0 GiB may be used; raise engine.vllm.memory_fraction from 0.9 to 0.93, or lower engine.batch_size "
    "from 256 to 128, or set engine.vllm.tensor_parallel to 2": ("Qwen2.5-3B", card(10), vllm()),
    "and 14.0 of 79.1 GiB may be used (65.1 GiB of the GPU's are in use by others); ": (
        "Qwen2.5-7B",
        card(79.1, free=14),
        vllm(),
    ),
    "engine.base_copy: the base has no room beside the model on the GPU, and needs 14.2 GiB of host memory, of which "
    "8.0 GiB are free; ": ("Qwen2.5-7B", card(22.5, host=8), vllm()),
    "of which 8.0 GiB are free; set engine.base_copy to device": (
        "Qwen2.5-7B",
        card(79.1, host=8),
        vllm(base_copy="host"),
    ),
    "needs 30.4 GiB of every GPU's memory": ("Qwen2.5-14B", card(22.5), vllm(tensor_parallel=2, batch_size=4096)),
    "may be used; set engine.kind to vllm and engine.vllm.tensor_parallel to 2": (
        "Qwen2.5-14B",
        card(22.5),
        MemorySettings("transformers", 64, ROW),
    ),
}


@pytest.mark.parametrize("told", REFUSED, ids=[f"refusal {place}" for place in range(len(REFUSED))])
def test_what_cannot_fit_is_one_line_with_what_is_there_and_what_helps(told: str) -> None:
    name, on, settings = REFUSED[told]
    with pytest.raises(InputError) as refused:
        plan_memory(on, MODELS[name], settings)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_float32_is_told_that_bfloat16_is_half() -> None:
    model = MODELS["Qwen2.5-7B"]
    double = replace(model, item_bytes=4, weights_bytes=2 * model.weights_bytes, largest_bytes=2 * model.largest_bytes)
    with pytest.raises(InputError, match=r"set engine\.dtype to bfloat16"):
        plan_memory(card(22.5), double, vllm())


def test_a_checkpoint_is_measured_by_its_headers(tiny_model: Path) -> None:
    spec = EngineSpec("transformers", tiny_model, Perturbation(), dtype="bfloat16")
    size = measure_model(spec)
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert size.weights_bytes == 2 * sum(parameter.numel() for parameter in loaded.parameters())
    assert size.largest_bytes == 2 * max(parameter.numel() for parameter in loaded.parameters())
    assert (size.vocabulary, size.hidden) == (loaded.config.vocab_size, loaded.config.hidden_size)
    assert measure_model(replace(spec, dtype="auto")).weights_bytes == 2 * size.weights_bytes, "it is in float32"
