"""A hundred kinds of bad input: each is told in a line that names the field, and leaves nothing behind.

Every case is given to `thickets run`, which must refuse it before Prefect starts.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
import zstandard

from tests.flows.command_line import Result
from tests.patience import no_hang

_MOST_CHARACTERS = 2000  # of a line: nobody reads more of it
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


@dataclass
class Bench:
    """Where a case lays its files, and a small configuration that is in order but for what the case puts in."""

    folder: Path
    tiny_model: Path

    def sections(self) -> dict[str, Any]:
        """Return a configuration that is accepted."""
        return {
            "model": str(self.tiny_model),
            "problem": {"name": "largest_number", "options": {"below": 30, "count": 2}},
            "data": {"selection": 12, "validation": 10, "test": 14},
            "population": {"size": 9},
            "decoding": {"max_tokens": 8},
            "selection": {"k_values": [1, 3]},
            "storage": {"home": str(self.folder / "home")},
        }

    def config(self, **sections: Any) -> str:
        """Write the configuration, some sections replaced, and return its path."""
        path = self.folder / "good.yaml"
        path.write_text(yaml.safe_dump(self.sections() | sections))
        return str(path)

    def with_data(self, name: str, content: bytes, **problem: Any) -> str:
        """Write a data file and a configuration that asks its rows."""
        path = self.folder / name
        path.write_bytes(content)
        return self.config(problem={"name": "file", "path": str(path), "verifier": "numeric"} | problem)

    def model(self) -> Path:
        """Copy the model, to be spoiled."""
        return Path(shutil.copytree(self.tiny_model, self.folder / "spoiled"))


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty folder, no network, and no Prefect: what comes that far was not refused."""

    def prefect(home: Path) -> None:
        raise AssertionError("nothing refused it")

    monkeypatch.setattr("thickets.flows.cli.search.start_prefect", prefect)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path.parent / "hub"))
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Bench(tmp_path, tiny_model)


def check_refused(
    run: Callable[..., Result], bench: Bench, arguments: list[str], expected: str | list[str], folder: Path
) -> None:
    """Run the command: exit status 2, an `error: ` line per wrong field and nothing else, and nothing written."""
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    with no_hang():  # nothing is waited for, and nothing unpacked without end
        status, out, err = run("run", *arguments)
    said = err.removesuffix("\n").split("\n")
    first = next((number for number, line in enumerate(said) if line.startswith("error: ")), 0)
    assert all(re.match("converting .* to bfloat16", line) for line in said[:first])
    lines = said[first:]
    wanted = [expected] if isinstance(expected, str) else expected
    assert (status, out) == (2, ""), err[-2000:]
    assert len(lines) == len(wanted), err[-2000:]
    for line, words in zip(lines, wanted, strict=True):
        assert line.startswith("error: ")
        assert words in line, line[:3000]
        assert len(line) <= _MOST_CHARACTERS
        assert not _UNPRINTABLE.search(line), ascii(line)
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_the_bench_itself_is_in_order(thickets: Callable[..., Result], bench: Bench) -> None:
    """Else every case would be refused for another reason."""
    for config in (bench.config(), bench.with_data("data.jsonl", jsonl(rows(60)))):
        status, _, err = thickets("run", config)
        assert (status, err) == (1, "error: AssertionError: nothing refused it (THICKETS_DEBUG=1 shows where)\n")


# What a configuration file may hold instead of a configuration.
_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
_MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
CONFIG_FILES: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "config: bad.yaml is empty"),
    "comments alone": (b"# nothing\n# else\n", "config: bad.yaml is empty"),
    "a list": (b"- model: x\n- problem: y\n", "mapping of fields, found a list"),
    "a text": (b"hello there\n", "mapping of fields, found a text"),
    "a number": (b"42\n", "mapping of fields, found a number"),
    "a tab as indentation": (b"problem:\n\tname: largest_number\n", "line 2"),
    "an open bracket": (b"data: [1, 2\nmodel: x\n", "line 2"),
    "two documents": (b"model: a\n---\nmodel: b\n", "document"),
    "a field twice": (b"model: a\nname: x\nmodel: b\n", "'model' stands in line 1 and in line 3"),
    "a field of a section twice": (b"data:\n  test: 1\n  test: 2\n", "'test' stands in line 2 and in line 3"),
    "a field twice, once in quotes": (b'model: a\n"m\\x6fdel": b\n', "'model' stands in line 1 and in line 2"),
    "numbers as fields": (b"1: 2\n", "line 1"),
    "yes as a field": (b"problem: {yes: 2}\n", "line 1"),
    "a list as a field": (b"[1, 2]: 3\n", "line 1"),
    "a mapping as a field": (b"{a: 1}: 3\n", "line 1"),
    "an unknown tag": (b"model: !mine x\n", "!mine"),
    "an include": (b"model: !include bad.yaml\n", "!include"),
    "code to run": (b"model: !!python/object/apply:os.system [touch here]\n", "python/object"),
    "an anchor that is nowhere": (b"model: *nowhere\n", "nowhere"),
    "a section in itself": (b"data: &a {selection: *a}\n", "contains itself"),
    "a list in itself": (b"problem: {name: largest_number, options: {count: &a [*a]}}\n", "contains itself"),
    "a merge of itself": (b"problem: &a {<<: *a, name: x}\n", "contains itself"),
    "a billion laughs": (_LAUGHS.encode(), "aliases"),
    "a billion merges": (_MERGES.encode(), "aliases"),
    "thousands of brackets": (b"data: " + b"[" * 5000, "nested"),
    "thousands of sections": (b"".join(b" " * n + b"a:\n" for n in range(1000)), "nested"),
    "a day that does not exist": (b"name: 2026-13-45\n", "line 1"),
    "a number of 5000 digits": (b"population: {size: " + b"9" * 5000 + b"}\n", "line 1"),
    "hexadecimal of no digits": (b"population: {size: 0x_}\n", "line 1"),
    "a number that is none": (b"population: {size: !!int abc}\n", "line 1"),
    "base64 that is none": (b"model: !!binary '*'\n", "line 1"),
    "bytes": (b"model: !!binary aGVsbG8=\n", "line 1"),
    "a set": (b"population: {sigmas: !!set {0.1, 0.2}}\n", "line 1"),
    "UTF-16": ("model: x\n".encode("utf-16"), "UTF-8"),
    "UTF-16 without its mark": ("model: x\n".encode("utf-16-le"), "config: bad.yaml"),
    "Latin-1": ("name: café\n".encode("latin-1"), "UTF-8"),
    "every byte": (bytes(range(256)), "config: bad.yaml"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00", "config: bad.yaml"),
    "zeros": (b"\0" * 100, "config: bad.yaml"),
    "a gzip": (gzip.compress(b"model: x\n"), "config: bad.yaml"),
    "half of a surrogate pair": (b'model: "\\ud800"\n', "surrogate"),
    "half of a surrogate pair as a field": (b'"\\ud800": 1\n', "surrogate"),
    "a zero byte in a text": (b'model: "a\\0b"\n', "zero byte"),
    "a line break as a field": (b'"a\\nb\\e[31m": 1\n', "unknown field"),
    "megabytes": (b"# " + b"x" * 5_000_000 + b"\nmodel: x\n", "5,000,012 bytes"),
    "a thousand wrong items": (b"problem: largest_number\npopulation: {sigmas: [" + b"0, " * 1000 + b"]}\n", ""),
}


@pytest.mark.parametrize("kind", CONFIG_FILES)
def test_a_file_that_is_no_configuration(thickets: Callable[..., Result], bench: Bench, kind: str) -> None:
    content, expected = CONFIG_FILES[kind]
    (bench.folder / "bad.yaml").write_bytes(content)
    found: str | list[str] = expected
    if kind == "a thousand wrong items":
        found = [*(f"population.sigmas[{n}]: found 0" for n in range(20)), "980 more"]
    check_refused(thickets, bench, ["bad.yaml"], found, bench.folder)


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _closed(path: Path) -> None:
    path.write_text("model: x\n")
    path.chmod(0)


def _nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    "name", ["bad.yaml", "a\nb\x1b[31m.yaml", "x" * 5000, "", "quickstart/", "a\0b.yaml", "\ud800"]
)
def test_a_configuration_that_is_not_there(thickets: Callable[..., Result], bench: Bench, name: str) -> None:
    check_refused(thickets, bench, [name], "config: ", bench.folder)


@pytest.mark.parametrize("make", [_folder, _loop, _dangling, _pipe, _closed])
@pytest.mark.parametrize("what", ["config", "data", "examples", "model", "weights", "config.json", "tokenizer.json"])
def test_something_else_where_a_file_is_wanted(
    thickets: Callable[..., Result], bench: Bench, what: str, make: Callable[[Path], None]
) -> None:
    if make is _closed and os.geteuid() == 0:
        pytest.skip("root may read anything")
    config, expected = bench.folder / "bad.yaml", what
    if what in ("config", "data", "examples"):
        path = bench.folder / ("bad.yaml" if what == "config" else "data.jsonl")
        if what == "data":
            config = Path(bench.config(problem={"name": "file", "path": str(path)}))
            expected = "problem.path"
        if what == "examples":
            config = Path(bench.with_data("other.jsonl", jsonl(rows(60)), examples=str(path)))
            expected = "problem.examples"
    elif what == "model":
        path = bench.folder / "model.gguf"
        config = Path(bench.config(model=str(path)))
    else:
        folder = bench.model()
        path = folder / ("model.safetensors" if what == "weights" else what)
        path.unlink()
        config, expected = Path(bench.config(model=str(folder))), "model: "
    make(path)
    check_refused(thickets, bench, [str(config)], expected, bench.folder)


# Assignments of `--set`, and how the line begins.
SETTINGS: dict[str, str] = {
    # What is no assignment.
    "population.size": "--set: ",
    "": "--set: ",
    "=3": "--set: ",
    ".=3": "--set",
    "population.=3": "--set",
    "population..size=3": "--set",
    "model=[": "--set model: ",
    "model=*a": "--set model: ",
    "problem.options=&a [*a]": "--set problem.options: ",
    "name=2026-13-45": "--set name: ",
    "data.test={a: 1, a: 2}": "--set data.test: ",
    "name.x=3": "--set name.x: name is a value",
    "a\nb=3": "a\\nb: unknown field",
    "model=" + "[" * 5000: "--set model: ",
    # Fields that do not exist.
    "populatoin.size=3": "populatoin: unknown field",
    "population.sise=3": "population.sise: unknown field; did you mean population.size",
    "engine.vllm.eagre=true": "engine.vllm.eagre: unknown field",
    "scoring.racing.zz=1": "scoring.racing.zz: unknown field",
    "distillation.controls.x=1": "distillation.controls.x: unknown field",
    "problem.nmae=x": "problem.nmae: unknown field",
    "problem.options.cuont=3": "problem.options",
    "population={1: 2}": "--set population: ",
    # Wrong types.
    "population=5": "population: found 5",
    "population=[1, 2]": "population: found [1, 2]",
    "population.size=[1, 2]": "population.size: ",
    "population.size={a: 1}": "population.size: ",
    "population.size=many": "population.size: found 'many'",
    "population.size=1.5": "population.size: found 1.5",
    "population.size=true": "population.size: found True",
    "population.size=null": "population.size: ",
    "population.size=.nan": "population.size: ",
    "population.size=.inf": "population.size: ",
    "population.sigmas=[.nan]": "population.sigmas[0]: ",
    "population.sigmas=[-0.0]": "population.sigmas[0]: ",
    "population.sigmas=[true]": "population.sigmas",
    "population.sigmas={}": "population.sigmas",
    "controls.temperature=.nan": "controls.temperature: ",
    "controls.chance=perhaps": "controls.chance: ",
    "distillation.learning_rate=.nan": "distillation.learning_rate: ",
    "distillation.margin=.inf": "distillation.margin: ",
    "engine.vllm.memory_fraction=.nan": "engine.vllm.memory_fraction: ",
    "scoring.budget.minutes=-1": "scoring.budget.minutes: ",
    "problem.right_at=.nan": "problem.right_at: ",
    "problem.options.count=.inf": "problem.options",
    "problem.options.count=two": "problem.options",
    "problem.options.count=[2]": "problem.options",
    "model=3": "model: found 3",
    "model={a: 1}": "model: found",
    # Numbers out of range.
    "population.size=0": "population.size: found 0",
    "population.size=-1": "population.size: found -1",
    "population.size=" + "9" * 30: "population.size: found 999",
    "population.size=1e3": "population.size: found '1e3'",
    "population.seed=-1": "population.seed: found -1",
    "population.seed=18446744073709551616": "population.seed: found",
    "data.test=0": "data.test: found 0",
    "data.selection=-3": "data.selection: found -3",
    "data.test=" + "9" * 30: "data.test: found 999",
    "data.test=99999": "problem.options",
    "data.seed=-1": "data.seed: found -1",
    "data.seed=" + "9" * 4000: "data.seed: found 999",
    "selection.k_values=[]": "selection.k_values: ",
    "selection.k_values=[0]": "selection.k_values[0]: ",
    "selection.k_values=[3, 3]": "selection.k_values: ",
    "selection.k_values=[50]": "selection.k_values asks for K = 50 experts",
    "scoring.retries=-1": "scoring.retries: ",
    "scoring.examples_per_block=0": "scoring.examples_per_block: ",
    "controls.temperature=-1": "controls.temperature: ",
    "distillation.seed=4294967296": "distillation.seed: ",
    "decoding.max_tokens=0": "decoding.max_tokens: ",
    "decoding.max_tokens=1000000000": "decoding.max_tokens: ",
    "engine.batch_size=0": "engine.batch_size: ",
    "engine.threads=-1": "engine.threads: ",
    "engine.replicas=0": "engine.replicas: ",
    "engine.vllm.block_size=0": "engine.vllm.block_size: ",
    "engine.vllm.memory_fraction=2": "engine.vllm.memory_fraction: ",
    "problem.options.count=-5": "problem.options",
    # Names.
    'name=""': "name: ",
    "name=..": "name: ",
    "name=a/b": "name: ",
    "name=../../x": "name: ",
    "name=/etc/x": "name: ",
    'name="a\\nb"': "name: ",
    "name=" + "x" * 300: "name: ",
    "problem.label=a/b": "problem.label",
    'problem.label="a\\nb"': "problem.label",
    "problem=nothing": "problem.name is 'nothing'",
    "problem=null": "problem: missing",
    "problem=reasoning_gym:nope": "problem.name",
    "problem=../largest_number": "problem.name",
    "model=": "model: ",
    'model=""': "model: ",
    "model=../x": "model: ",
    "model=~nobody/x": "model: ",
    "model=a/b/c": "model: ",
    "model=nowhere.gguf": "model: ",
    'model="no\\nwhere.gguf"': "model: ",
    "model=no/such-model-here": "model: ",
    "model=signals-nope": "model: ",
    'model="a\\0b.gguf"': "--set model: ",
    "revision=main": "revision is 'main'",
    # How answers are judged.
    "problem.verifier=exakt": "problem.verifier is 'exakt'",
    "problem.verifier=nowhere.at.all:judge": "problem.verifier",
    "problem.verifier=os:nope": "problem.verifier",
    "problem={name: largest_number, verifier: regex, pattern: (}": "problem.pattern",
    "problem={name: largest_number, verifier: regex, pattern: a*}": "problem.pattern",
    "problem={name: largest_number, verifier: regex}": "problem.verifier is 'regex'",
    "problem.instruction=no place for it": "problem.instruction",
    "controls.prompts=[no place for it]": "controls.prompts",
    "decoding.reasoning=[a]": "decoding.reasoning: ",
    "decoding.chat_template_kwargs={messages: 1}": "decoding.chat_template_kwargs: ",
    "decoding.chat_template_kwargs={nowhere: 1}": "decoding.chat_template_kwargs: ",
    # What this machine does not have.
    "engine.device=tpu": "engine.device",
    "engine.device=meta": "engine.device",
    "engine.device=cuda:-1": "engine.device",
    "engine.device=cuda:99": "engine.device",
    "engine.kind=tensorrt": "engine.kind: ",
    "engine.kind=signals": "engine.kind: ",
    "engine.dtype=int8": "engine.dtype: ",
    "engine.address=localhost:1": "engine.address",
    # Where things are kept.
    "storage.home=": "storage.home: ",
    'storage.home=""': "storage.home: ",
    "storage.home=taken": "storage.home: ",
    "storage.home=taken/below": "storage.home: ",
    "storage.home=/proc/nowhere": "storage.home: ",
    'storage.home="a\\0b"': "--set storage.home: ",
    "storage.home=" + "x" * 300: "storage.home: ",
    "storage.shards=nowhere://bucket": "storage.shards: ",
    "storage.shards=taken": "storage.shards: ",
    "storage.shards=taken/below": "storage.shards: ",
    'storage.shards="a\\0b"': "--set storage.shards: ",
    'storage.shards=""': "storage.shards: ",
    "storage.shards=s3://me:secret@host/bucket": "storage.shards: ",
    "storage.shards=http://[::1": "storage.shards: ",
    "tracking.uri=nonsense": "tracking.uri: ",
    "tracking.uri=ftp://host/x": "tracking.uri: ",
    "tracking.uri=http://": "tracking.uri: ",
    "tracking.uri=http://[::1": "tracking.uri: ",
    "tracking.uri=http://host:99999": "tracking.uri: ",
    "tracking.uri=https://me:secret@host": "tracking.uri: ",
    'tracking.experiment=""': "tracking.experiment: ",
}


@pytest.mark.parametrize("override", SETTINGS, ids=lambda text: text[:40] or "nothing")
def test_a_setting_that_cannot_be(thickets: Callable[..., Result], bench: Bench, override: str) -> None:
    (bench.folder / "taken").write_text("a file, not a folder")
    check_refused(thickets, bench, [bench.config(), "--set", override], "error: " + SETTINGS[override], bench.folder)


def test_several_wrong_fields_are_a_line_each(thickets: Callable[..., Result], bench: Bench) -> None:
    wrong = bench.config(data={"test": 0, "seed": "x"}, nmae="x")
    check_refused(thickets, bench, [wrong], ["data.test: ", "data.seed: ", "nmae: unknown field"], bench.folder)


def rows(n: int) -> list[dict[str, Any]]:
    """Make rows that can be asked."""
    return [{"id": f"q{i}", "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(n)]


def jsonl(values: list[Any]) -> bytes:
    """Write rows as lines of JSON; a text is a line as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in values).encode()


def _parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def _wide(n: int) -> dict[str, int]:
    return {f"column {number}": number for number in range(n)}


_GOOD = jsonl(rows(60))
_ROW = {"question": "What is 1+1?", "answer": "2"}
_OTHER = {"question": "Another?", "answer": "1"}
Data = tuple[str, Callable[[], bytes], dict[str, Any], str]
DATA: dict[str, Data] = {
    "an unknown ending": ("data.txt", lambda: _GOOD, {}, "'.txt'"),
    "no ending": ("data", lambda: _GOOD, {}, "unknown kind of file"),
    "an empty file": ("data.jsonl", lambda: b"", {}, "there are no rows"),
    "blank lines": ("data.jsonl", lambda: b"\n\n\n", {}, "there are no rows"),
    "an empty table": ("data.csv", lambda: b"", {}, "there are no rows"),
    "a header alone": ("data.csv", lambda: b"question,answer\n", {}, "there are no rows"),
    "an empty array": ("data.json", lambda: b"[]", {}, "there are no rows"),
    "no rows in Parquet": ("data.parquet", lambda: _parquet(pl.DataFrame(_ROW).clear()), {}, "there are no rows"),
    "every byte": ("data.jsonl", lambda: bytes(range(256)) * 9, {}, "line"),
    "zeros": ("data.jsonl", lambda: b"\0" * 1000, {}, "line 1"),
    "zeros in a table": ("data.csv", lambda: b"question,answer\n\0\0,\0\n", {}, "row 1"),
    "UTF-16 without its mark": ("data.jsonl", lambda: _GOOD.decode().encode("utf-16-le"), {}, "line 1"),
    "UTF-16 that is cut off": ("data.jsonl", lambda: _GOOD.decode().encode("utf-16")[:-1], {}, "UTF-16"),
    "Latin-1": ("data.csv", lambda: "question,answer\ncafé,1\n".encode("latin-1"), {}, "line 2"),
    "a workbook": ("data.csv", lambda: b"PK\x03\x04" + bytes(100), {}, "workbook"),
    "another form than its name's": ("data.csv", lambda: gzip.compress(_GOOD), {}, "gzip"),
    "gzip that is cut off": ("data.jsonl.gz", lambda: gzip.compress(_GOOD)[:-20], {}, ".gz"),
    "gzip that is none": ("data.jsonl.gz", lambda: _GOOD, {}, ".gz"),
    "gzip with a flipped bit": ("data.jsonl.gz", lambda: _flipped(gzip.compress(_GOOD)), {}, ".gz"),
    "zstd that is cut off": ("data.jsonl.zst", lambda: zstandard.compress(_GOOD)[:-9], {}, ".zst"),
    "zstd that is none": ("data.jsonl.zst", lambda: _GOOD, {}, ".zst"),
    "Parquet that is cut off": ("data.parquet", lambda: _parquet(pl.DataFrame(rows(60)))[:-30], {}, ".parquet"),
    "Parquet that is none": ("data.parquet", lambda: _GOOD, {}, ".parquet"),
    "an empty Parquet file": ("data.parquet", lambda: b"", {}, ".parquet"),
    "Parquet of random bytes": ("data.parquet", lambda: b"PAR1" + bytes(range(256)) + b"PAR1", {}, ".parquet"),
    "JSON that is cut off": ("data.json", lambda: b'[{"question": "x", ', {}, "not JSON"),
    "a number": ("data.json", lambda: b"42", {}, "it holds a"),
    "two arrays of rows": ("data.json", lambda: b'{"a": [{}], "b": [{}]}', {}, "2 arrays"),
    "rows that are lists": ("data.jsonl", lambda: b"[1, 2]\n", {}, "line 1"),
    "thousands of brackets": ("data.jsonl", lambda: b'{"question": ' + b"[" * 100_000 + b"\n", {}, "line 1"),
    "a number of 5000 digits": ("data.jsonl", lambda: b'{"question": ' + b"9" * 5000 + b"}\n", {}, "line 1"),
    "thousands of sections": (
        "data.jsonl",
        lambda: b'{"question": ' + b'{"a": ' * 900 + b"1" + b"}" * 900 + b', "answer": 1}\n',
        {},
        "line 1",
    ),
    "a million columns": ("data.jsonl", lambda: jsonl([_wide(1_000_000)]), {}, "no column 'question'"),
    "half a million columns in an array": ("data.json", lambda: json.dumps([_wide(500_000)]).encode(), {}, "no column"),
    "a million columns in a table": ("data.csv", lambda: ",".join(_wide(1_000_000)).encode(), {}, "1,000,000 columns"),
    "twenty thousand columns": ("data.parquet", lambda: _parquet(pl.DataFrame([_wide(20_000)])), {}, "20,000 columns"),
    "a nested million": ("data.jsonl", lambda: jsonl([{"a": _wide(1_000_000)}]), {}, "no column 'question'"),
    "names of columns with line breaks": ("data.jsonl", lambda: jsonl([{"a\nb\x1b[31m": 1}]), {}, "'a\\nb"),
    "a name of a million characters": ("data.jsonl", lambda: jsonl([{"x" * 1_000_000: 1}]), {}, "no column"),
    "ids that collide": ("data.jsonl", lambda: _GOOD + jsonl([_OTHER | {"id": "q7"}]), {"id_column": "id"}, "id 'q7'"),
    "an id that collides with a line break": (
        "data.jsonl",
        lambda: jsonl([{"id": "a\n/b", "question": q, "answer": "1"} for q in "xy"]),
        {"id_column": "id"},
        "id 'a\\n/b'",
    ),
    "an id that is a list": ("data.jsonl", lambda: jsonl([_ROW | {"id": [1]}]), {"id_column": "id"}, "'id'"),
    "an id column that is not there": ("data.jsonl", lambda: jsonl([_ROW]), {"id_column": "no"}, "'no'"),
    "another column": ("data.jsonl", lambda: _GOOD, {"question_column": "text"}, "no column 'text'"),
    "a path that leads nowhere": ("data.jsonl", lambda: _GOOD, {"answer_column": "answer[0].x"}, "'answer[0].x'"),
    "one column for both": ("data.jsonl", lambda: _GOOD, {"answer_column": "question"}, "are both"),
    "an empty question": ("data.jsonl", lambda: jsonl([_ROW | {"question": " "}]), {}, "line 1"),
    "no question": ("data.jsonl", lambda: jsonl([_ROW | {"question": None}]), {}, "line 1"),
    "a question that is an object": ("data.jsonl", lambda: jsonl([_ROW | {"question": {"a": 1}}]), {}, "line 1"),
    "an answer that is not a number": ("data.jsonl", lambda: jsonl([_ROW | {"answer": "many"}]), {}, "line 1"),
    "NaN as answer": ("data.jsonl", lambda: b'{"question": "x", "answer": NaN}\n', {}, "line 1"),
    "an infinite answer": ("data.jsonl", lambda: b'{"question": "x", "answer": 1e999}\n', {}, "line 1"),
    "an empty list of answers": ("data.jsonl", lambda: jsonl([_ROW | {"answer": []}]), {}, "line 1"),
    "half of a surrogate pair": ("data.jsonl", lambda: b'{"question": "\\ud800", "answer": 1}\n', {}, "surrogate"),
    "half of a pair as column": ("data.jsonl", lambda: b'{"\\ud800": "x", "answer": 1}\n', {}, "\\ud800"),
    "a turn of nobody's": (
        "data.jsonl",
        lambda: jsonl([_ROW | {"question": [{"role": "tool\n", "content": "x"}]}]),
        {},
        "line 1",
    ),
    "no options": (
        "data.jsonl",
        lambda: jsonl([_ROW | {"options": [], "answer": "A"}]),
        {"choices_column": "options", "verifier": "choice"},
        "line 1",
    ),
    "quotes that do not close": ("data.csv", lambda: b'question,answer\n"What,1\n', {}, "double quotes"),
    "more fields than the header": ("data.csv", lambda: b"question,answer\na,b,c\n", {}, "row 1"),
    "a column twice": ("data.csv", lambda: b"question,answer,answer\na,1,2\n", {}, "2 times"),
    "fewer rows than asked": ("data.jsonl", lambda: jsonl(rows(20)), {}, "missing"),
    "a test set that is too small": ("data.jsonl", lambda: _GOOD, {"test_path": "small.jsonl"}, "missing"),
    "a test set of the same questions": ("data.jsonl", lambda: _GOOD, {"test_path": "data.jsonl"}, "missing"),
    "worked examples that are not there": ("data.jsonl", lambda: _GOOD, {"examples": "none.jsonl"}, "problem.examples"),
    "too few worked examples": (
        "data.jsonl",
        lambda: _GOOD,
        {"examples": [_ROW], "n_examples": 3},
        "problem.n_examples",
    ),
    "a prompt that is too long": ("data.jsonl", lambda: _GOOD, {"system": "x" * 5000}, "data.too_long"),
    "a question too long to show": (
        "data.jsonl",
        lambda: jsonl([*rows(60), _ROW | {"question": "x" * 1_000_000}][::-1]),
        {},
        "data.too_long",
    ),
}


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


@pytest.mark.parametrize("kind", DATA)
def test_data_that_cannot_be_asked(thickets: Callable[..., Result], bench: Bench, kind: str) -> None:
    name, content, problem, expected = DATA[kind]
    (bench.folder / "small.jsonl").write_bytes(jsonl(rows(3)))
    config = bench.with_data(name, content(), **problem)
    check_refused(thickets, bench, [config], expected, bench.folder)


@pytest.mark.parametrize(
    "path",
    ["hf:", "hf:a:b:c:d", "hf:no/such-data-set", "hf:/no/such", "hf:/", "hf:../x", "da\nta.jsonl", "x" * 5000 + ".csv"],
)
def test_data_that_is_not_there(thickets: Callable[..., Result], bench: Bench, path: str) -> None:
    config = bench.config(problem={"name": "file", "path": path})
    check_refused(thickets, bench, [config], "problem.path", bench.folder)


def _write(name: str, content: bytes | str) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content

    def write(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return write


def _remove(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def _merge(name: str, **values: Any) -> Callable[[Path], None]:
    def merge(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return merge


def _cut(name: str, n_bytes: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, n_bytes)


def _indexed(index: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        (folder / "model.safetensors.index.json").write_text(index)

    return spoil


def _header(values: Any, body: bytes = b"") -> Callable[[Path], None]:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return _write("model.safetensors", struct.pack("<Q", len(text)) + text + body)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _tensor(**values: Any) -> dict[str, Any]:
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | values}


MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an empty folder": (_empty, "config.json"),
    "no config": (_remove("config.json"), "config.json"),
    "an empty config": (_write("config.json", ""), "config.json"),
    "a config that is cut off": (_write("config.json", '{"model_type": '), "config.json"),
    "a config that is a list": (_write("config.json", "[1, 2]"), "config.json"),
    "a config that is null": (_write("config.json", "null"), "config.json"),
    "a config of bytes": (_write("config.json", bytes(range(256))), "config.json"),
    "a config in UTF-16": (_write("config.json", '{"model_type": "llama"}'.encode("utf-16")), "config.json"),
    "a config of thousands of brackets": (_write("config.json", "[" * 100_000), "config.json"),
    "a config without a kind": (_write("config.json", "{}"), "model_type"),
    "a kind of model that nobody knows": (_merge("config.json", model_type="nope"), "model: "),
    "a kind of model that is a number": (_merge("config.json", model_type=7), "model: "),
    "quantised weights": (_merge("config.json", quantization_config={"quant_method": "gptq"}), "quantised (gptq)"),
    "a quantisation that is a text": (_merge("config.json", quantization_config="gptq"), "model: "),
    "code of its own": (_merge("config.json", model_type="mine", auto_map={"AutoModel": "x.Y"}), "its own code"),
    "no tokenizer": (_no_tokenizer, "tokenizer"),
    "a tokenizer that is cut off": (_cut("tokenizer.json", 100), "tokenizer"),
    "a tokenizer that is a list": (_write("tokenizer.json", "[]"), "tokenizer"),
    "a tokenizer of bytes": (_write("tokenizer.json", bytes(range(256))), "tokenizer"),
    "tokenizer settings that are a list": (_write("tokenizer_config.json", "[1, 2]"), "tokenizer"),
    "tokenizer settings that are cut off": (_cut("tokenizer_config.json", 20), "tokenizer"),
    "a chat template that does not close": (_write("chat_template.jinja", "{% for x in y %}"), "chat template"),
    "a chat template that raises": (_write("chat_template.jinja", "{{ raise_exception('no\nway') }}"), "chat template"),
    "a chat template that divides by zero": (_write("chat_template.jinja", "{{ 1 // 0 }}"), "chat template"),
    "no weights": (_remove("model.safetensors"), "safetensors"),
    "weights that are cut off": (_cut("model.safetensors", 5000), "incomplete"),
    "weights cut off in the header": (_cut("model.safetensors", 50), "no safetensors file"),
    "empty weights": (_write("model.safetensors", b""), "no safetensors file"),
    "weights that are text": (_write("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "no safe"),
    "weights of no tensor": (_header({}), "model: "),
    "a header that is a list": (_header([1]), "no safetensors file"),
    "a header of thousands of brackets": (_header(b"[" * 100_000), "no safetensors file"),
    "a tensor of an unknown type": (_header(_tensor(dtype=7), bytes(8)), "model: "),
    "a tensor of a negative shape": (_header(_tensor(shape=[-2]), bytes(8)), "model: "),
    "a tensor whose shape is a text": (_header(_tensor(shape="2"), bytes(8)), "model: "),
    "a tensor before the beginning": (_header(_tensor(data_offsets=[-8, 8]), bytes(8)), "model: "),
    "a tensor that ends before it begins": (_header(_tensor(data_offsets=[8, 0]), bytes(8)), "model: "),
    "a tensor of half bytes": (_header(_tensor(data_offsets=[0.5, 8]), bytes(8)), "model: "),
    "a tensor of another size than its shape": (_header(_tensor(shape=[5000]), bytes(8)), "model: "),
    "pickled weights alone": (_pickled, "pickled"),
    "an index of files that are not there": (_indexed('{"weight_map": {"x": "gone.safetensors"}}'), "gone.safetensors"),
    "an index that is cut off": (_indexed('{"weight_map": {"x": '), "index"),
    "an index that is a list": (_indexed("[]"), "index"),
    "an index of nothing": (_indexed('{"weight_map": {}}'), "index"),
    "an index of numbers": (_indexed('{"weight_map": {"x": 3}}'), "index"),
    "an index that leads out of the folder": (_indexed('{"weight_map": {"x": "../good.yaml"}}'), "index"),
    "an index of the folder itself": (_indexed('{"weight_map": {"x": "."}}'), "model: "),
    "room for nothing": (_merge("config.json", max_position_embeddings=4), "decoding.max_tokens"),
    "room that is a text": (_merge("config.json", max_position_embeddings="much"), "model: "),
    "a model that writes no text": (_merge("config.json", model_type="vit"), "model: "),
    "sizes that are texts": (_merge("config.json", hidden_size="large"), "model: "),
    "sizes of another model": (_merge("config.json", hidden_size=64, head_dim=16), "model: "),
    "another vocabulary": (_merge("config.json", vocab_size=7), "model: "),
    "more layers than weights": (_merge("config.json", num_hidden_layers=5), "model: "),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_folder_that_is_no_model(thickets: Callable[..., Result], bench: Bench, kind: str) -> None:
    spoil, expected = MODELS[kind]
    folder = bench.model()
    spoil(folder)
    check_refused(thickets, bench, [bench.config(model=str(folder))], expected, bench.folder)


_GGUF = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
GGUF_FILES: dict[str, bytes] = {
    "an empty file": b"",
    "text": b"hello there",
    "four letters alone": b"GGUF",
    "a header alone": _GGUF,
    "a version that nobody knows": b"GGUF" + struct.pack("<IQQ", 99, 1, 1) + bytes(64),
    "more fields than bytes": b"GGUF" + struct.pack("<IQQ", 3, 2**40, 2**40) + bytes(200),
    "a name longer than the file": _GGUF + struct.pack("<Q", 2**40) + b"name",
    "a field of an unknown type": _GGUF + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 77) + bytes(64),
    "no architecture": _GGUF + struct.pack("<Q", 1) + b"a" + struct.pack("<IB", 7, 1) + bytes(64),
    "random bytes": b"GGUF" + bytes(range(256)) * 10,
}


@pytest.mark.parametrize("kind", GGUF_FILES)
def test_a_gguf_file_that_is_none(thickets: Callable[..., Result], bench: Bench, kind: str) -> None:
    path = bench.folder / "model.gguf"
    path.write_bytes(GGUF_FILES[kind])
    check_refused(thickets, bench, [bench.config(model=str(path))], "model: ", bench.folder)
