"""What is not the ensemble that was selected is an error, never another answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.tiny_model import make_tiny_model
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.models.base import resolve_model
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.serving import open_ensemble


@pytest.fixture
def other_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def make(**changes: Any) -> str:
        path = make_tiny_model(tmp_path / "other", **changes)
        monkeypatch.setenv("THICKETS_BASE_MODEL", str(path))
        return resolve_model(str(path)).sha256

    return make


def test_another_base_is_an_error_that_names_both_hashes(
    run: RunSummary, model_folder: Path, other_base: Callable[..., str]
) -> None:
    other = other_base(seed=1)
    assert other != run.model_sha256
    with pytest.raises(InputError) as caught:
        open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))
    message = str(caught.value)
    assert message.startswith("THICKETS_BASE_MODEL: ")
    assert other in message
    assert run.model_sha256 in message
    with pytest.raises(Exception, match=run.model_sha256):
        mlflow.pyfunc.load_model(str(model_folder))


def test_the_same_weights_with_another_prompt_template_are_refused(
    run: RunSummary, other_base: Callable[..., str]
) -> None:
    assert other_base(chat=False) == run.model_sha256
    with pytest.raises(InputError, match="chat template or tokenizer of the model is not what the run had"):
        open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))


def test_the_same_base_elsewhere_will_do(run: RunSummary, other_base: Callable[..., str]) -> None:
    assert other_base() == run.model_sha256
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    gone = manifest.model_copy(update={"base": manifest.base.model_copy(update={"name": "/nowhere/at/all"})})
    assert open_ensemble(gone).k == 5


def test_a_base_that_is_not_here_says_how_to_name_it(run: RunSummary) -> None:
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    gone = manifest.model_copy(update={"base": manifest.base.model_copy(update={"name": "/nowhere/at/all"})})
    with pytest.raises(InputError, match="set THICKETS_BASE_MODEL to the base model's folder"):
        open_ensemble(gone)


def test_manifests_that_do_not_fit_this_version_are_refused(run: RunSummary) -> None:
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    noise = manifest.noise.model_copy(update={"version": 2})
    with pytest.raises(InputError, match="noise version is 2"):
        open_ensemble(manifest.model_copy(update={"noise": noise}))
    with pytest.raises(InputError, match=r"problem largest_number is not what the run had: version is 2, was 0"):
        open_ensemble(manifest.model_copy(update={"problem": {**manifest.problem, "version": 0}}))
