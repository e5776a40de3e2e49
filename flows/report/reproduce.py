"""How to repeat a run: the command, the configuration, and the identity of model, engine and splits."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from thickets.flows.results.looking import view_command
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import RunFolder
from thickets.tasks.sandbox.launch import WHAT, Isolation

Fact = tuple[str, str]
_MOST_FACTORS = 4


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How to repeat a run.

    Attributes:
        command: Goes on with the run where it is stored, or carries it out where it is not.
        look: Shows every question and reply of the run where it is stored.
        folder: Where the run is.
        config: The configuration it was started with, as YAML.
        identity: Hashes and versions, by name.
        splits: Name, number of questions and content hash (empty if not kept) of each split.
        tokens: What each part of the run generated, and all of it.
        mlflow_address: Where MLflow shows the run: a URL, or how to serve it.
        prefect: The flow run: a URL or an id; None where there is none.
    """

    command: str
    look: str
    folder: str
    config: str
    identity: tuple[Fact, ...]
    splits: tuple[tuple[str, int, str], ...]
    tokens: tuple[tuple[str, int], ...]
    mlflow_address: str
    prefect: str | None


def reproduction(folder: RunFolder, summary: RunSummary) -> Reproduction:
    """Read from the run's folder how to repeat the run; leave out what is not there."""
    identity = _read_json(folder.identity)
    manifest = _read_json(folder.manifest)
    hashes = identity.get("questions", {})
    where = folder.root.resolve()
    links = summary.tracking
    return Reproduction(
        command=f"thickets run {shlex.quote(str(where / folder.config.name))}",
        look=view_command(folder),
        folder=str(where),
        config=folder.config.read_text(encoding="utf-8") if folder.config.is_file() else "",
        identity=tuple(_facts(summary, identity, manifest)),
        splits=tuple((name, size, hashes.get(name, "")) for name, size in summary.split_sizes.items()),
        tokens=(*summary.n_tokens.items(), ("all", sum(summary.n_tokens.values()))),
        mlflow_address=links.mlflow_address,
        prefect=links.prefect_address or links.prefect_flow_run_id,
    )


def _facts(summary: RunSummary, identity: dict[str, Any], manifest: dict[str, Any]) -> list[Fact]:
    base, noise, engine = manifest.get("base", {}), manifest.get("noise", {}), identity.get("engine", {})
    facts = {
        "run": summary.run_id,
        "fingerprint of the answers": summary.fingerprint,
        "base model": summary.model,
        "base revision": base.get("revision"),
        "base SHA-256": summary.model_sha256,
        "noise": f"version {noise['version']}, {noise['family']}{_factors(noise)}" if noise else None,
        "engine": f"{engine['kind']}, {engine['device']}, {engine['dtype']}" if engine else None,
        "libraries": ", ".join(f"{name} {version}" for name, version in engine.get("libraries", {}).items()),
        "limit, learned": f"{summary.limit.max_tokens} tokens per answer" if summary.limit else None,
        "sandbox of the model's programs": summary.sandbox and WHAT[cast(Isolation, summary.sandbox)],
        "Thickets": summary.version,
    }
    return [(name, value) for name, value in facts.items() if value]


def _factors(noise: dict[str, Any]) -> str:
    """Name the first factors on sigma, if there are any."""
    scale = noise.get("scale", [])
    shown = ", ".join(f"{pattern} {factor:g}" for pattern, factor in scale[:_MOST_FACTORS])
    more = f" and {len(scale) - _MOST_FACTORS} more" if len(scale) > _MOST_FACTORS else ""
    return f", sigma times {shown}{more}" if scale else ""


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
