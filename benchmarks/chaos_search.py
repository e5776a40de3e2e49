"""The small search that `benchmarks.chaos` disturbs: its model, its configuration, its processes and its result."""

from __future__ import annotations

import os
import string
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import psutil

from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.storage.home import Home

_ROOT = Path(__file__).parents[1]
# A run of seconds that has not ended after this long hangs. A server that is away is waited for, and a busy machine
# takes its time.
PATIENCE_S = 240.0
_POLL_S = 0.005
# What would lead a run to another home or another server than the benchmark's.
_OURS = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "THICKETS_HOME", "PREFECT_HOME", "THICKETS_AUTH")


class NotSurvivedError(Exception):
    """A run did not come through what was done to it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When things happen in a run that nobody disturbs, in seconds from its command.

    Attributes:
        begin_s: Its folder is there.
        scoring_s: How long it scores, from the first shard to the last.
        end_s: It has ended.
    """

    begin_s: float
    scoring_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """What must be the same after any disturbance."""

    manifest: bytes
    evaluation: str
    answers: pl.DataFrame

    def differences(self, other: Result) -> list[str]:
        """Return in words what is not the same."""
        found = []
        if self.manifest != other.manifest:
            found.append("the manifest (seeds and sigmas) is another")
        if self.evaluation != other.evaluation:
            found.append("the evaluation is another")
        if not self.answers.equals(other.answers):
            found.append(f"answers differ ({self.answers.height} rows here, {other.answers.height} undisturbed)")
        return found


class Start:
    """One process of `thickets run`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._began = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output
            )

    @property
    def age_s(self) -> float:
        """Seconds since the command was given."""
        return time.monotonic() - self._began

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def ends_before(self, moment_s: float) -> bool:
        """Wait until the process is `moment_s` old, and return whether it has ended by itself before."""
        while self.age_s < moment_s and not self.has_ended:
            time.sleep(_POLL_S)
        return self.has_ended

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()

    def engines(self) -> list[int]:
        """Return the process ids of its engines that have a process of their own."""
        found = []
        try:
            for child in psutil.Process(self.process.pid).children():
                if any("engine_main" in part for part in child.cmdline()):
                    found.append(child.pid)
        except psutil.Error:  # one of them has just ended
            return []
        return found

    def lines(self) -> list[str]:
        """Return what it has logged to the terminal so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()


@dataclass
class Search:
    """One search in a home of its own, started again and again until it is finished.

    Attributes:
        folder: For its configuration, and the logs of its starts.
        home: Its home.
        model: Folder of the model.
        environment: Of every start.
        timing: That of the undisturbed run; None for that run itself.
        disk: The file system of its own that the home is on, if it is.
    """

    folder: Path
    home: Path
    model: Path
    environment: Mapping[str, str]
    timing: Timing | None = None
    disk: Path | None = None
    is_finished: bool = False
    starts: list[Start] = field(default_factory=list)
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    _owed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._config = self.folder / "search.yaml"
        self._config.write_text(dump_config(parse_config(_sections(self.model, self.home))))

    def start(self, *overrides: str, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Start:
        """Begin the search, or go on with it."""
        self.is_finished = False
        command = [*prefix, sys.executable, "-m", "thickets", "run", str(self._config)]
        for override in overrides:
            command += ["--set", override]
        log = self.folder / f"start-{len(self.starts)}.log"
        self.starts.append(Start(command, {**self.environment, **(environment or {})}, log))
        return self.starts[-1]

    def moment(self, share: float) -> float:
        """Return the age of a start at a share of what an undisturbed run does after its imports, in seconds."""
        assert self.timing is not None
        return self.timing.begin_s + share * (self.timing.end_s - self.timing.begin_s)

    def end_well(self, start: Start, *, unless: str | None = None) -> bool:
        """Wait for a start to end by itself.

        Args:
            start: The start.
            unless: What its log says if it may fail.

        Returns:
            Whether it has finished the search.

        Raises:
            NotSurvivedError: It has not ended in time, or with an error that it may not end with.
        """
        try:
            status = start.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            start.kill()
            raise NotSurvivedError(f"had not ended after {PATIENCE_S:.0f} s: {self.last_words(start)}") from None
        if status == 0:
            self.is_finished = True
        elif unless is None or not any(unless in line for line in start.lines()):
            raise NotSurvivedError(f"ended with status {status}: {self.last_words(start)}")
        return status == 0

    def last_words(self, start: Start) -> str:
        """Return the end of a start's log, in one line."""
        return " / ".join(line.strip()[:300] for line in start.lines()[-3:])

    def shards(self) -> list[Path]:
        """Return the finished shards."""
        return sorted(path for path in self.home.glob("shards/*/*.parquet") if not path.name.startswith("."))

    def verdicts(self) -> list[Path]:
        """Return the finished files of verdicts."""
        return sorted(path for path in self.home.glob("shards/*/verdicts-*/*.parquet") if path.name[0] != ".")

    def databases(self) -> list[Path]:
        """Return the score database, if it is there."""
        return list(self.home.glob("runs/*/scores.duckdb"))

    def will_be_named(self, damaged: Path) -> None:
        """Have a later start name a damaged shard in its log, and make it again."""
        self._owed.append((damaged.stem, len(self.starts)))

    def look(self) -> None:
        """Compare the shards with those that were there before.

        Raises:
            NotSurvivedError: A finished shard was written again, or is gone.
        """
        damaged = {name for name, _ in self._owed}
        found = {path.name: path.stat() for path in self.shards()}
        now = {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in found.items()}
        changed = [name for name, was in self._seen.items() if now.get(name) != was and Path(name).stem not in damaged]
        self._seen = now
        if changed:
            what = "written again" if changed[0] in now else "gone"
            raise NotSurvivedError(f"{len(changed)} finished shards are {what}, the first is {changed[0]}")

    def check(self, undisturbed: Result) -> None:
        """Compare the finished search with the undisturbed one.

        Raises:
            NotSurvivedError: It differs, something was answered twice, or a damage is in no log.
        """
        faults = result(self.home).differences(undisturbed)
        keys = ["candidate_id", "split", "example_id"]
        rows = pl.concat([pl.read_parquet(path, columns=keys, hive_partitioning=False) for path in self.shards()])
        if rows.is_duplicated().any():
            faults.append("something was answered twice")
        for name, first in self._owed:
            if not any(name in line for start in self.starts[first:] for line in start.lines()):
                faults.append(f"no log names the damaged shard {name}")
        if faults:
            raise NotSurvivedError("; ".join(faults))


def measure(search: Search) -> Timing:
    """Take a search to its end without disturbing it.

    Raises:
        NotSurvivedError: It has failed.
    """
    start, begin_s = search.start(), 0.0
    while not start.has_ended and start.age_s < PATIENCE_S:
        if not begin_s and any(search.home.glob("runs/*")):
            begin_s = start.age_s
        time.sleep(_POLL_S)
    end_s = start.age_s
    search.end_well(start)
    written = [path.stat().st_mtime for path in search.shards()]
    return Timing(begin_s, max(written) - min(written), end_s)


def result(home: Path) -> Result:
    """Read the result of a finished search."""
    folder = find_run(Home(home), "latest")
    with open_scores(Home(home), folder) as reader:
        answers = reader.query(
            "select candidate_id, split, example_id, answer, correct, completion from completions order by all"
        )
    return Result(folder.manifest.read_bytes(), load_summary(folder).evaluation.model_dump_json(), answers)


def environment_in(folder: Path) -> dict[str, str]:
    """Return the variables of a start whose servers keep what they know in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    paths = os.pathsep.join([str(_ROOT), *filter(None, [kept.get("PYTHONPATH")])])
    # A tiny model has nothing to share out between threads.
    return {**kept, "PYTHONPATH": paths, "PREFECT_HOME": str(folder / "prefect"), "OMP_NUM_THREADS": "1"}


def make_model(folder: Path) -> Path:
    """Write a random Llama of two layers with a tokenizer of single characters; it answers in milliseconds."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *string.printable])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            initializer_range=0.3,
        )
    ).save_pretrained(folder)
    return folder


def _sections(model: Path, home: Path) -> dict[str, object]:
    return {
        "name": "chaos",
        "model": str(model),
        # What a random model writes is seldom a number that a careful reader would see.
        "problem": {
            "name": "largest_number",
            "options": {"below": 30, "count": 2},
            "verifier": "regex",
            "pattern": r"\d+",
        },
        "data": {"selection": 12, "validation": 6, "test": 8},
        "population": {"size": 60, "sigmas": [0.05, 0.1, 0.2]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 6, "threads": 1},
        "scoring": {"examples_per_block": 6, "candidates_per_shard": 2},
        "selection": {"k_values": [1, 5]},
        "controls": {"best_prompt": False},
        "storage": {"home": str(home)},
    }
