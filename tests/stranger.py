"""A folder of a user whose own modules have the names of our three folders, and programs that run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.patience import PATIENCE_S

HOSTILE = ("flows", "tasks", "storage")
_RAISES = 'raise RuntimeError(f"{__name__} is the user\'s own, and was imported")\n'
_JUDGE = '''
def judge(text, example):
    """Hold a reply right whose number of characters is even."""
    answer = "even" if (text if text in ("even", "odd") else str(len(text) % 2)) in ("even", "0") else "odd"
    return answer, answer == example.answer
'''


@dataclass(frozen=True)
class Stranger:
    """A user's folder.

    Attributes:
        root: The folder; every program runs there.
        model: Folder of the tiny model.
        environment: Of every program; neither a server nor a store of another test is in it.
    """

    root: Path
    model: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.root / "home"

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python there."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def script(self, text: str, name: str = "script.py") -> str:
        """Write a script into the folder and run it; gives its standard output."""
        (self.root / name).write_text(text)
        return succeeded(self.python(name))

    def config(self, **sections: Any) -> dict[str, Any]:
        """A run of the tiny model with the user's verifier; sections replace whole ones."""
        values = {
            "name": "stranger",
            "model": str(self.model),
            "problem": {"name": "file", "path": str(self.root / "questions.jsonl"), "verifier": "mine:judge"},
            "data": {"selection": 6, "validation": 6, "test": 8},
            "population": {"size": 4, "sigmas": [0.05, 0.1]},
            "decoding": {"max_tokens": 4},
            "engine": {"kind": "transformers", "device": "cpu", "batch_size": 8},
            "scoring": {"candidates_per_shard": 2},
            "selection": {"k_values": [1, 3]},
            "storage": {"home": str(self.home)},
        }
        return values | sections

    def write(self, **sections: Any) -> str:
        """Write `my.yaml`, and give its name."""
        (self.root / "my.yaml").write_text(yaml.safe_dump(self.config(**sections)))
        return "my.yaml"

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """Summaries of its finished runs."""
        return [json.loads(path.read_text()) for path in self.home.glob("runs/*/summary.json")]


def make_stranger(root: Path, model: Path) -> Stranger:
    """Fill a folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "tasks.py").write_text(_RAISES)
    for name in ("flows", "storage"):
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(_RAISES)
    (root / "mine.py").write_text(_JUDGE)
    rows = [{"question": f"Write {n} letters.", "answer": "even" if n % 2 == 0 else "odd"} for n in range(40)]
    (root / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    foreign = ("PREFECT_", "MLFLOW_", "THICKETS_", "RAY_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"PREFECT_HOME": str(root / "prefect"), "OMP_NUM_THREADS": "1"}
    return Stranger(root, model, environment)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Standard output of a program that must have ended well."""
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
