"""The written folder loads to exactly the weights that the engine holds for the candidate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.storage.models.base import resolve_model
from thickets.storage.models.weights import INDEX, WEIGHTS, weight_files
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Average, Candidate, Weights

CANDIDATE = Candidate(2**63 + 11, 0.02)
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def digest(folder: Path, candidate: Weights | None, **changes) -> str:
    """What the engine holds."""
    engine = TransformersEngine(EngineSpec("transformers", folder, **({"perturbation": Perturbation()} | changes)))
    engine.load(candidate)
    return engine.weights_sha256()


def written(base: Path, perturbation: Perturbation | None = None, dtype: DtypeName = "auto") -> Path:
    folder = base.parent / f"{base.name}-written"
    folder.mkdir()
    write_checkpoint(base, folder, CANDIDATE, perturbation or Perturbation(), dtype=dtype)
    return folder


def assert_equal_to_the_engine(base: Path, perturbation: Perturbation | None = None, dtype: DtypeName = "auto") -> Path:
    changes = {"perturbation": perturbation or Perturbation(), "dtype": dtype}
    folder = written(base, perturbation, dtype)
    expected = digest(base, CANDIDATE, **changes)
    assert digest(folder, None) == expected  # dtype "auto": the folder says by itself what it is
    assert expected != digest(base, None, **changes)
    return folder


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def shard(folder: Path) -> None:
    """Divide a checkpoint into two files, embedding and head apart."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    halves = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, held in halves.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    size = sum(tensor.nbytes for tensor in tensors.values())
    weight_map = {name: file for file, held in halves.items() for name in held}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_folder_holds_what_the_engine_holds(tmp_path: Path, dtype: torch.dtype, tied: bool) -> None:
    base = make_tiny_model(tmp_path / "base", dtype=dtype, tied=tied)
    folder = assert_equal_to_the_engine(base)
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == dtype
    stored = load_file(folder / WEIGHTS)
    assert (HEAD in stored) is not tied


@pytest.mark.parametrize("stored_as", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("runs_as", ["float32", "bfloat16", "float16"])
def test_weights_are_cast_first_and_perturbed_then(tmp_path: Path, stored_as: torch.dtype, runs_as: DtypeName) -> None:
    folder = assert_equal_to_the_engine(make_tiny_model(tmp_path / "base", dtype=stored_as), dtype=runs_as)
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == runs_as
    assert {str(tensor.dtype) for tensor in load_file(folder / WEIGHTS).values()} == {f"torch.{runs_as}"}


@pytest.mark.parametrize("field", ["torch_dtype", None])
def test_the_dtype_is_written_where_the_base_s_config_has_it(tmp_path: Path, field: str | None) -> None:
    base = make_tiny_model(tmp_path / "base", dtype=torch.bfloat16)
    config = json.loads((base / "config.json").read_text())
    del config["dtype"]
    if field:
        config[field] = "bfloat16"
    (base / "config.json").write_text(json.dumps(config))
    folder = assert_equal_to_the_engine(base, dtype="float32")
    assert json.loads((folder / "config.json").read_text())[field or "dtype"] == "float32"


def test_a_config_that_says_another_type_than_its_tensors_have_is_believed_as_the_engine_does(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", dtype=torch.bfloat16)
    change_weights(base, lambda held: held.update({name: tensor.float() for name, tensor in held.items()}))
    folder = assert_equal_to_the_engine(base)
    assert {tensor.dtype for tensor in load_file(folder / WEIGHTS).values()} == {torch.bfloat16}


@pytest.mark.parametrize("divided", [False, True], ids=["one file", "two files"])
def test_a_tied_tensor_that_is_stored_twice_stays_one(tmp_path: Path, divided: bool) -> None:
    base = make_tiny_model(tmp_path / "base", dtype=torch.bfloat16, tied=True)
    change_weights(base, lambda held: held.update({HEAD: held[EMBEDDING].clone()}))
    if divided:
        shard(base)
    folder = assert_equal_to_the_engine(base)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_a_pair_that_the_config_ties_and_the_checkpoint_holds_apart_stays_apart(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", tied=True)
    change_weights(base, lambda held: held.update({HEAD: held[EMBEDDING] + 1}))
    assert_equal_to_the_engine(base)


def test_a_pair_that_only_the_cast_makes_equal_is_tied_as_the_engine_ties_it(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", tied=True)
    change_weights(base, lambda held: held.update({HEAD: held[EMBEDDING] * (1 + 2**-20)}))
    assert_equal_to_the_engine(base, dtype="bfloat16")


def test_equal_tensors_that_the_config_does_not_tie_get_noise_of_their_own(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", tied=False)
    change_weights(base, lambda held: held.update({HEAD: held[EMBEDDING].clone()}))
    folder = assert_equal_to_the_engine(base)
    held = load_file(folder / WEIGHTS)
    assert not torch.equal(held[HEAD], held[EMBEDDING])


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_divided_checkpoint_stays_divided(tmp_path: Path, tied: bool) -> None:
    base = make_tiny_model(tmp_path / "base", tied=tied)
    shard(base)
    folder = assert_equal_to_the_engine(base, dtype="bfloat16")
    assert [path.name for path in weight_files(folder)] == [path.name for path in weight_files(base)]
    assert not (folder / WEIGHTS).exists()
    before, after = (json.loads((place / INDEX).read_text()) for place in (base, folder))
    assert after["weight_map"] == before["weight_map"]
    assert after["metadata"]["total_size"] * 2 == before["metadata"]["total_size"]
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize(
    "perturbation",
    [
        Perturbation(exclude=("*.mlp.*", "*norm*")),
        Perturbation(include=("model.layers.1.*",), exclude=()),
        Perturbation(exclude=("lm_head.*",)),  # tied: known by the embedding's name alone
        Perturbation(family="rademacher"),
    ],
    ids=["exclude", "include", "exclude a tied name", "rademacher"],
)
def test_the_same_parameters_are_perturbed(tmp_path: Path, perturbation: Perturbation) -> None:
    base = make_tiny_model(tmp_path / "base", tied=True)
    folder = assert_equal_to_the_engine(base, perturbation)
    before, after = load_file(base / WEIGHTS), load_file(folder / WEIGHTS)
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is not perturbation.selects(name)


def test_a_checkpoint_without_the_prefix_of_the_wrapped_model_keeps_its_names(tmp_path: Path) -> None:
    base = tmp_path / "base"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path / "llama"))
    GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2)
    ).save_pretrained(base)
    tokenizer.save_pretrained(base)
    change_weights(base, lambda held: [held.update({n.partition(".")[2]: held.pop(n)}) for n in list(held)])
    folder = assert_equal_to_the_engine(base)
    assert "wte.weight" in load_file(folder / WEIGHTS)


def test_what_the_model_does_not_know_is_copied(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    strangers = {"extra.counts": torch.arange(5), "extra.head": torch.full((2, 3), 0.1, dtype=torch.float64)}
    change_weights(base, lambda held: held.update(strangers))
    held = load_file(assert_equal_to_the_engine(base, dtype="bfloat16") / WEIGHTS)
    for name, tensor in strangers.items():
        assert held[name].dtype == tensor.dtype
        assert torch.equal(held[name], tensor)


def test_everything_beside_the_weights_comes_along_and_nothing_else(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    (base / "LICENSE").write_text("terms")
    (base / "README.md").write_text("the card of another model")
    (base / "pytorch_model.bin").write_bytes(b"old weights")
    (base / "pytorch_model.bin.index.json").write_text("{}")
    (base / "original").mkdir()
    (base / "original" / "params.json").write_text("{}")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    (base / "linked.json").symlink_to(base / "config.json")
    folder = written(base)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "LICENSE",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "linked.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not (folder / "linked.json").is_symlink()
    for name in found - {"model.safetensors"}:
        assert (folder / name).read_bytes() == (base / name).read_bytes()


def test_a_tied_tensor_is_counted_once(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", tied=True)
    change_weights(base, lambda held: held.update({HEAD: held[EMBEDDING].clone()}))
    (tmp_path / "out").mkdir()
    found = write_checkpoint(base, tmp_path / "out", CANDIDATE, Perturbation())
    engine = TransformersEngine(EngineSpec("transformers", base, Perturbation()))
    assert (found.n_perturbed, found.dtype) == (engine.n_perturbed, "float32")


def test_a_model_without_a_usable_name_for_a_weight_is_refused(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    name = "model.layers.0.self_attn.q_proj.weight"
    change_weights(base, lambda held: held.update({"model.layers.0.self_attn.fused": held.pop(name)}))
    with pytest.raises(InputError, match=r"^model: parameter model\.layers\.0\.self_attn\.q_proj\.weight .*nothing"):
        written(base)


def test_patterns_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"noise\.include/exclude"):
        written(make_tiny_model(tmp_path / "base"), Perturbation(include=("nothing.*",)))


@pytest.mark.slow
def test_the_real_model_is_written_as_the_engine_holds_it(tmp_path: Path) -> None:
    base = resolve_model("smollm2-135m-instruct").path
    write_checkpoint(base, tmp_path, CANDIDATE, Perturbation())
    assert digest(tmp_path, None) == digest(base, CANDIDATE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_average_is_written_as_the_engine_holds_it(tmp_path: Path, dtype: torch.dtype) -> None:
    base = make_tiny_model(tmp_path / "base", dtype=dtype)
    average = Average((CANDIDATE, Candidate(3, 0.1), Candidate(4, 0.001)))
    (tmp_path / "out").mkdir()
    write_checkpoint(base, tmp_path / "out", average, Perturbation())
    assert digest(tmp_path / "out", None) == digest(base, average) != digest(base, CANDIDATE)
