"""The command for a new card: goes its whole way on the CPU, needs three libraries, and stops when it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_engine import checksum
from benchmarks.gpu_seen import Row, Seen, read_rows, table
from tests.patience import no_hang

ROOT = Path(__file__).parents[2]

# What PyTorch, Triton and Transformers bring, and Numba, which makes noise where there is no GPU; nothing else can be
# imported. Python runs a sitecustomize.py that it finds before anything else.
_NOTHING_ELSE = """
import importlib.metadata as metadata, re, sys
wanted, known = ["torch", "triton", "transformers", "numba", "pip"], set()
while wanted:
    name = re.sub("[-_.]+", "-", wanted.pop()).lower()
    if name not in known:
        known.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        wanted += [re.match(r"[\\w.-]+", need)[0] for need in needs if "extra ==" not in need]
known -= {"pydantic", "pydantic-core"}  # there are releases of theirs that do without
refused = {
    module for module, owners in metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", owner).lower() in known for owner in owners) and module != "thickets"
} - {"thickets", "benchmarks"}
class Only:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused: return None
        return self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Only(finder) for finder in sys.meta_path]
"""


def run(*arguments: str, home: Path, only: bool = False) -> subprocess.CompletedProcess[str]:
    (home / "sitecustomize.py").write_text(_NOTHING_ELSE if only else "")
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(home), str(ROOT)]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_goes_its_whole_way_with_pytorch_and_transformers_alone(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    done = run(
        *("--device", "cpu", "--tiny", "--minutes", "10", "--json", str(file)),
        *("--parts", "machine", "noise", "tiny"),
        home=tmp_path,
        only=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [Row(**row) for row in json.loads(file.read_text())["rows"]]
    assert {row.part for row in rows} == {"machine", "noise", "tiny"}
    checked = {row.what: row.verdict for row in rows if row.verdict}
    assert set(checked.values()) == {"right"}
    assert {"base again, every bit", "base again, answers", "first candidate, bits that differ"} <= checked.keys()
    assert len(checked) == 12
    assert {"candidates a minute", "noise, gaussian", "peak memory"} <= {row.what for row in rows}
    assert done.stdout.count("  right") == 12


def test_what_the_test_refuses_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_NOTHING_ELSE)
    for module in ("prefect", "mlflow", "vllm", "duckdb", "polars", "pydantic"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=False,
        )
        assert b"No module named" in done.stderr


def test_it_stops_when_its_minutes_are_over_and_says_what_it_did_not_do(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    with no_hang():
        done = run(
            "--device", "cpu", "--minutes", "0.06", "--json", str(file), "--parts", "noise", "0.5B", home=tmp_path
        )
    assert done.returncode == 0
    assert [(row["part"], row["what"]) for row in json.loads(file.read_text())["rows"]] == [
        ("noise", "stopped"),
        ("0.5B", "stopped"),
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_part_that_dies_is_a_line_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    done = run("--device", "cuda", "--tiny", "--minutes", "10", "--parts", "machine", "nonsense", home=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "died" in line]
    assert [line.split()[0] for line in lines] == ["machine", "nonsense"]
    assert "CUDA" in lines[0]


def test_a_row_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    seen = Seen("noise", file)
    seen.check("bits", False, "3 of 4", "0")
    seen.note("speed", "1 GB/s")
    with file.open("a") as opened:
        opened.write('{"part": "noi')
    rows = read_rows(file)
    assert [(row.what, row.verdict) for row in rows] == [("bits", "WRONG"), ("speed", "")]
    assert table(rows).splitlines()[1].split() == ["noise", "bits", "3", "of", "4", "0", "WRONG"]


def test_a_checksum_sees_one_bit_and_two_weights_that_change_places() -> None:
    model = torch.nn.Linear(300, 5, bias=False, dtype=torch.bfloat16)
    before = checksum(model)
    weight = model.weight.data.view(-1)
    weight[0], weight[1] = 1.0, 2.0
    one = checksum(model)
    weight[0], weight[1] = 2.0, 1.0
    other = checksum(model)
    weight.view(torch.int16)[7] ^= 1
    assert len({before, one, other, checksum(model)}) == 4
