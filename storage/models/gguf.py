"""Converts a GGUF file into a bfloat16 safetensors folder, once, in the model cache."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from thickets.storage.errors import InputError
from thickets.storage.models.weights import WEIGHTS, hash_file, save_tensors

log = logging.getLogger(__name__)

# Part of the folder's name: raise it when the conversion changes, so that cached folders are converted again.
CONVERSION_VERSION = 2


def convert_gguf(path: Path, cache: Path, memory: Path) -> Path:
    """Return the folder of a GGUF file's dequantised weights, converting on first use.

    The folder holds config, generation config, tokenizer with chat template, and ``model.safetensors`` in bfloat16
    under Hugging Face names, tied tensors once. It appears whole or not at all, and is found by the file's content.

    Args:
        path: The ``.gguf`` file.
        cache: The model cache.
        memory: Where ``hash_file`` remembers.

    Raises:
        InputError: The file is no GGUF, or of an architecture that Transformers cannot convert.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"model: {path} is no GGUF file")
    target = cache / "models" / f"gguf-v{CONVERSION_VERSION}-{hash_file(path, memory)[:32]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            _announce(path)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as scratch:
                built = Path(scratch) / "model"
                _convert(path, built)
                built.rename(target)
    return target


def _announce(path: Path) -> None:
    """Say that a file is being converted, and about how long that takes."""
    # Measured: 14 s of processor time for 98 MB and 135 M weights, nearly all of it for the names and the tokenizer.
    n_bytes = path.stat().st_size
    about_s = round(20 + 30 * n_bytes / 1e9, -1)
    # Without anybody who has set up logging, as in a Python script, warnings alone are shown.
    log.log(
        logging.INFO if log.hasHandlers() else logging.WARNING,
        "converting %s (%.0f MB) to bfloat16 safetensors, once; takes about %.0f s, on a busy machine a minute or more",
        path.name,
        n_bytes / 1e6,
        about_s,
    )


def _convert(path: Path, folder: Path) -> None:
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": path.name, "dtype": torch.bfloat16}
    if hasattr(transformers, "GgufConfig"):  # from 5.19 on, weights otherwise stay packed
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except MemoryError:
        raise
    except Exception as error:  # of a file that is cut off or no model's, two libraries raise whatever they meet
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(f"model: cannot convert {path}: {type(error).__name__}: {reason}") from None

    # save_pretrained refuses a model that was loaded from a quantised file, so the parts are saved one by one.
    tensors, seen = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor.to(torch.bfloat16).contiguous()
    folder.mkdir()
    save_tensors(tensors, folder / WEIGHTS)

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = [type(model).__name__]
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    _add_special_tokens(tokenizer, path, folder)


def _add_special_tokens(tokenizer: Any, path: Path, folder: Path) -> None:
    """Save a converted tokenizer that begins and ends a text as the file says, which Transformers does not read."""
    import gguf

    header = gguf.GGUFReader(path)
    fields = {name: header.get_field(f"tokenizer.ggml.{name}") for name in ("model", "add_bos_token", "add_eos_token")}
    says = {name: field.contents() for name, field in fields.items() if field is not None}
    if says.pop("model", None) == "llama":  # SentencePiece
        says.setdefault("add_bos_token", True)  # as llama.cpp does where a file is silent
    for name, value in says.items():
        setattr(tokenizer, name, bool(value))  # makes its post-processor anew
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    # The library leaves them out; vLLM and other readers look for them.
    values = json.loads(config.read_text(encoding="utf-8")) | {name: getattr(tokenizer, name) for name in says}
    config.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
