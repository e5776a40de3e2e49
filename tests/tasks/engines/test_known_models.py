"""Whether weights fit a config is found out once per model, before anything is started."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thickets.storage.errors import InputError
from thickets.storage.models.base import BaseModelRef, resolve_model
from thickets.tasks.engines import EngineSpec, build_engine, checkpoint
from thickets.tasks.engines.known_models import check_weights
from thickets.tasks.noise import Perturbation


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were looked into, so far."""
    found: list[Path] = []
    really = checkpoint.check_weights_fit

    def look(folder: Path, *, trust_remote_code: bool = False) -> None:
        found.append(folder)
        really(folder, trust_remote_code=trust_remote_code)

    monkeypatch.setattr(checkpoint, "check_weights_fit", look)
    return found


def with_layers(base: BaseModelRef, n_layers: int) -> None:
    path = base.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": n_layers}))


def test_a_model_that_fits_is_remembered_and_one_that_does_not_is_not(folder: Path, looked: list[Path]) -> None:
    base = resolve_model(str(folder))
    for _ in range(2):
        check_weights(base)
    assert len(looked) == 1
    with_layers(base, 5)
    for _ in range(2):
        with pytest.raises(InputError, match=r"^model: "):
            check_weights(base)
    assert len(looked) == 3


@pytest.mark.parametrize("content", ["{torn", "{}", "7"])
def test_a_broken_memory_is_no_obstacle(folder: Path, looked: list[Path], content: str) -> None:
    base = resolve_model(str(folder))
    memory = folder.parent / "cache" / "fitting.json"
    memory.write_text(content)
    for _ in range(2):
        check_weights(base)
    assert len(looked) == 1


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


def _without(*patterns: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for path in (each for pattern in patterns for each in folder.glob(pattern)):
            path.unlink()

    return remove


@pytest.mark.parametrize(
    "spoil",
    [_gone, _without("tokenizer*"), _without("*.safetensors"), _without("config.json")],
    ids=["gone", "tokenizer", "weights", "config"],
)
def test_a_folder_that_lost_something_before_its_engine_started_is_bad_input(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=rf"^model: .* in {folder} cannot be read") as caught:
        build_engine(EngineSpec("transformers", folder, Perturbation(), device="cpu"))
    assert "\n" not in str(caught.value)
