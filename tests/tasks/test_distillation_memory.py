"""Whether a training fits on a card, told before anything is paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.distillation.memory import ModelShape, check_host, plan_checkpointing, training_bytes

GIB = 1 << 30
# Figures of the Qwen2.5 models' configs: parameters, layers, hidden and intermediate width, in bfloat16.
QWEN = {
    "0.5B": (494_032_768, 24, 896, 4_864),
    "1.5B": (1_543_714_304, 28, 1_536, 8_960),
    "3B": (3_085_938_688, 36, 2_048, 11_008),
    "7B": (7_615_616_512, 28, 3_584, 18_944),
    "14B": (14_770_033_664, 48, 5_120, 13_824),
}


def shape(name: str) -> ModelShape:
    n, layers, hidden, intermediate = QWEN[name]
    return ModelShape(n, 2 * n, layers, hidden, intermediate, 152_064)


@pytest.mark.parametrize(
    ("model", "method", "card_gib", "expected"),
    [
        ("0.5B", "full", 24, True),
        ("0.5B", "full", 80, False),
        ("1.5B", "full", 24, None),
        ("1.5B", "full", 80, False),
        ("3B", "full", 80, True),
        ("7B", "full", 80, None),
        ("7B", "full", 141, None),
        ("1.5B", "lora", 24, True),
        ("7B", "lora", 24, None),
        ("7B", "lora", 40, True),
        ("7B", "lora", 80, False),
        ("14B", "lora", 48, None),
        ("14B", "lora", 24, None),
    ],
)
def test_what_fits_is_trained_plainly_if_it_can_be(
    model: str, method: Any, card_gib: int, expected: bool | None
) -> None:
    def plan() -> bool:
        return plan_checkpointing(shape(model), method, card_gib * GIB, rank=16, rows=8, length=768)

    if expected is None:
        with pytest.raises(InputError, match=r"^distillation\.method: training .* GiB are there; "):
            plan()
    else:
        assert plan() is expected


def test_the_refusal_names_what_is_needed_what_is_there_and_what_helps() -> None:
    with pytest.raises(InputError) as raised:
        plan_checkpointing(shape("7B"), "full", 80 * GIB, rank=16, rows=8, length=768)
    assert str(raised.value) == (
        "distillation.method: training 7.6 B weights by full in batches of 8 rows of up to 768 tokens needs about "
        "140.0 GiB of GPU memory, and 73.6 GiB are there; set distillation.method to lora, or lower "
        "distillation.batch_size or decoding.max_tokens"
    )
    with pytest.raises(InputError, match=r"there; lower distillation\.batch_size or decoding\.max_tokens$"):
        plan_checkpointing(shape("14B"), "lora", 24 * GIB, rank=16, rows=8, length=768)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_more_of_anything_takes_more(method: Any) -> None:
    base = {"rank": 16, "rows": 8, "length": 512, "checkpointing": False}
    least = training_bytes(shape("1.5B"), method, **base)  # type: ignore[arg-type]
    for more in ({"rows": 16}, {"length": 1024}):
        assert training_bytes(shape("1.5B"), method, **(base | more)) > least  # type: ignore[arg-type]
    assert training_bytes(shape("3B"), method, **base) > least  # type: ignore[arg-type]
    assert training_bytes(shape("1.5B"), method, **(base | {"checkpointing": True})) < least  # type: ignore[arg-type]


def test_the_weights_of_full_training_are_counted_with_their_gradients_and_moments() -> None:
    only_weights = training_bytes(shape("7B"), "full", rank=1, rows=0, length=0, checkpointing=False)
    assert only_weights == 18 * QWEN["7B"][0]
    frozen = training_bytes(shape("7B"), "lora", rank=16, rows=0, length=0, checkpointing=False)
    # 40.4 million weights of adapters, as PEFT counts them on this model with rank 16 and all linear layers.
    assert frozen - 2 * QWEN["7B"][0] == pytest.approx(16 * 40_370_176, rel=0.1)


def test_the_shape_is_read_from_a_checkpoint(tiny_model: Path, tmp_path: Path) -> None:
    found = ModelShape.of(tiny_model, 5, 20)
    config = json.loads((tiny_model / "config.json").read_text())
    assert (found.layers, found.hidden, found.intermediate) == (2, config["hidden_size"], 48)
    assert (found.n_parameters, found.size_bytes, found.vocabulary) == (5, 20, config["vocab_size"])
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 64, "num_hidden_layers": 3}}))
    assert ModelShape.of(tmp_path, 1, 1).intermediate == 256


@pytest.mark.parametrize(
    ("model", "method", "host_gib", "message"),
    [
        ("0.5B", "full", 8, None),
        (
            "0.5B",
            "full",
            7,
            r"holds 7\.4 GiB .* has 7\.0 GiB of memory; set distillation\.method to lora, or take a",
        ),
        ("7B", "lora", 30, None),
        ("7B", "lora", 24, r"7\.6 B weights by lora on the CPU holds 29\.0 GiB .*; take a smaller model$"),
    ],
)
def test_a_machine_without_a_gpu_has_to_hold_the_weights_in_float32_with_all_that_training_adds(
    model: str, method: Any, host_gib: int, message: str | None
) -> None:
    if message is None:
        check_host(shape(model), method, host_gib * GIB, rank=16)
        return
    with pytest.raises(InputError, match=message):
        check_host(shape(model), method, host_gib * GIB, rank=16)
