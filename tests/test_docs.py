"""README and docs are true: commands run, links lead somewhere, and every field, command and option named exists.

A block of commands or Python is run on the tiny model unless `<!-- not run: why -->` stands before it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import typer
import yaml
from pydantic import BaseModel

from thickets.flows.cli import main as cli
from thickets.flows.config import file as config_file
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deployments/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LANGUAGES = {"bash", "python", "yaml", "toml", "text"}

_FENCE = re.compile(r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document; `why_not_run` is empty if it is to be run."""

    document: Path
    line: int
    language: str
    text: str
    why_not_run: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """Every command of a shell block as a list of words; a quoted one may take several lines."""
        found, pending = [], ""
        for line in self.text.replace("\\\n", " ").splitlines():
            pending += f"{line}\n"
            try:
                found.append(shlex.split(pending, comments=True))
            except ValueError:  # a quote that is not closed yet
                continue
            pending = ""
        assert not pending, f"{self}: a quote is not closed"
        return [words for words in found if words]


def blocks(*languages: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in _blocks(document) if block.language in languages]


@cache
def _blocks(document: Path) -> tuple[Block, ...]:
    text = document.read_text(encoding="utf-8")
    return tuple(
        Block(document, text.count("\n", 0, found.start()) + 1, found["language"], found["text"], found["why"] or "")
        for found in _FENCE.finditer(text)
    )


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def spans(document: Path) -> list[str]:
    """Inline code, each on one line."""
    return [" ".join(span.split()) for span in _SPAN.findall(prose(document))]


def command_lines(document: Path) -> list[list[str]]:
    """Every `thickets ...` of a document, in blocks and in inline code."""
    in_blocks = [words for block in _blocks(document) if block.language == "bash" for words in block.commands]
    in_spans = [_words(span) for span in spans(document)]
    return [words for words in (*in_blocks, *in_spans) if words[:1] == ["thickets"] and len(words) > 1]


def _words(span: str) -> list[str]:
    try:
        return shlex.split(span)
    except ValueError:  # a lone quote
        return span.split()


by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


# What can be read


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 1100


@by_document
def test_no_figure_is_left_to_be_filled_in(document: Path) -> None:
    assert re.findall(r"\{\{.*?\}\}", document.read_text(encoding="utf-8"), re.S) == []


@by_document
def test_every_block_names_its_language(document: Path) -> None:
    assert {str(block): block.language for block in _blocks(document) if block.language not in LANGUAGES} == {}
    assert document.read_text(encoding="utf-8").count("\n```") == 2 * len(_blocks(document))


@by_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = [link for link in _LINK.findall(prose(document)) if "://" not in link]
    assert [link for link in links if not _exists(document, link)] == []


def _exists(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    return target.exists() and (not anchor or anchor in anchors(target))


@cache
def anchors(document: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = _HEADING.findall(prose(document))
    return frozenset(re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings)


def test_what_the_code_cites_is_there() -> None:
    folders = ("benchmarks", "examples", "flows", "storage", "tasks")
    cited = {
        (path.relative_to(ROOT).as_posix(), link)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for link in re.findall(r"[\w/.-]+\.md(?:#[\w-]+)?", path.read_text(encoding="utf-8"))
        if link != "README.md"  # of a model
    }
    assert ("tasks/noise/spec.py", "docs/design.md#noise") in cited
    assert sorted(each for each in cited if not _exists(ROOT / "README.md", each[1])) == []


def test_the_index_lists_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    others = {*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"} - {
        ROOT / "docs" / "README.md"
    }
    assert others - linked == set()


# Configuration


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_configuration(block: Block) -> None:
    values = yaml.safe_load(block.text)
    assert parse_config(_completed(values))


@by_document
def test_configuration_in_a_line_is_one(document: Path) -> None:
    for span in spans(document):
        name, _, rest = span.partition(": ")
        if name in RunConfig.model_fields and rest and "..." not in rest:
            assert parse_config(_completed(yaml.safe_load(span))), span


def _completed(values: dict[str, Any]) -> dict[str, Any]:
    """The section as part of a whole configuration."""
    return values if "problem" in values or "problems" in values else {"problem": "largest_number", **values}


@by_document
def test_every_field_named_exists(document: Path) -> None:
    set_fields = [
        words[place + 1]
        for words in command_lines(document)
        for place, word in enumerate(words[:-1])
        if word == "--set" and words[place + 1] != "..."
    ]
    named = {re.split(r"[:=\s]", text)[0] for text in (*spans(document), *set_fields)}
    dotted = {name for name in named if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)}
    ours = {name for name in dotted if name.partition(".")[0] in RunConfig.model_fields and not _is_a_file(name)}
    ours |= {re.split("[:=]", text)[0] for text in set_fields}
    assert {name for name in ours if not _is_field(RunConfig, name.split("."))} == set()


def _is_a_file(name: str) -> bool:
    return name.rpartition(".")[2] in ("py", "yaml", "json", "jsonl", "md", "parquet")


def _is_field(section: type[BaseModel], path: list[str]) -> bool:
    field = section.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    inner = [each for each in _parts(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return _is_field(inner[0], path[1:]) if inner else dict in map(get_origin, _parts(field.annotation))


def _parts(annotation: Any) -> list[Any]:
    """The alternatives of a type."""
    return list(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else [annotation]


# Commands


@cache
def parser() -> dict[str, frozenset[str]]:
    """The options of every command, from the real parser; of the program itself under ``thickets``."""
    program = typer.main.get_command(cli.app)
    every = {"thickets": program, **program.commands}
    return {name: frozenset({"--help"}.union(*map(_options, command.params))) for name, command in every.items()}


def _options(parameter: Any) -> set[str]:
    """How an option is written; nothing of an argument."""
    return {each for each in (*parameter.opts, *parameter.secondary_opts) if each.startswith("-")}


@by_document
def test_every_command_and_option_named_exists(document: Path) -> None:
    for _, command, *rest in command_lines(document):
        if command == "COMMAND":  # any
            continue
        if command.startswith("-"):
            assert command in parser()["thickets"], f"thickets {command}"
            continue
        assert command in parser(), f"thickets {command}"
        named = {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        assert named <= parser()[command], f"thickets {command}"


def test_the_page_of_commands_has_every_option_and_no_other() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `thickets ([a-z]+)`\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    listed = {name: set(re.findall(r"`(--[a-z-]+)", section)) for name, section in sections.items()}
    assert listed == {name: options - {"--help"} for name, options in parser().items() if name != "thickets"}


@by_document
def test_every_target_of_make_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    lines = [words for block in _blocks(document) if block.language == "bash" for words in block.commands]
    named = {words[1] for words in [*lines, *map(_words, spans(document))] if words[:1] == ["make"] and len(words) == 2}
    assert named - targets == set()


@by_document
def test_every_program_of_ours_exists(document: Path) -> None:
    named = set(re.findall(r"python -m ((?:benchmarks|examples|flows|tasks|thickets)\.[\w.]+)", document.read_text()))
    assert [name for name in named if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


def test_commits_and_forges_check_what_make_checks() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.findall(r"^\t\$\(BIN\)/(.+)$", re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile, re.M)[0], re.M)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    assert len(recipe) == 4
    assert [word for line in recipe for word in line.split() if word != "." and word not in entries] == []
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["check-and-test"]["steps"] if "run" in step]
    assert steps == ["make setup-test", "make check", "make test"]


# What can be run


@pytest.fixture(scope="module")
def home(tiny_model: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of two finished runs of the tiny model, `quickstart` and `my`, in whose place the documents' stand."""
    folder = tmp_path_factory.mktemp("docs")
    presets = folder / "presets"
    presets.mkdir()
    (presets / "quickstart.yaml").write_text(yaml.safe_dump(_tiny(tiny_model)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_file, "PRESETS", presets)
        patch.setenv("THICKETS_HOME", str(folder / "home"))
        patch.setenv("COLUMNS", "200")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        _fill(folder, tiny_model)
        patch.chdir(folder)
        for command in ("run my.yaml", "run quickstart", "promote latest --name my-model"):
            assert _status(patch, command.split()) == 0
        yield folder


def _tiny(model: Path, **sections: Any) -> dict[str, Any]:
    values = {
        "model": str(model),
        "problem": {"name": "largest_number", "options": {"below": 30, "count": 2}},
        "data": {"selection": 12, "validation": 10, "test": 14},
        "population": {"size": 9, "sigmas": [0.05, 0.1]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu"},
        "selection": {"k_values": [1, 3]},
        "controls": {"chance": False},  # a random model is no better, and would not be promoted
    }
    return values | sections


def _fill(folder: Path, model: Path) -> None:
    """Write the files that the documents' commands read."""
    (folder / "my.yaml").write_text(yaml.safe_dump(_tiny(model, population={"size": 8, "sigmas": [0.05, 0.1]})))
    rows = [{"id": str(n), "question": f"{n} or 5?", "answer": str(max(n, 5))} for n in range(10, 18)]
    (folder / "new.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    case = {"verifier": "numeric", "gold": "18", "reply": "The answer is 18.", "allowed": ["right"], "why": ""}
    (folder / "cases.jsonl").write_text(f"{json.dumps(case)}\n")


def _status(patch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    patch.setattr("sys.argv", ["thickets", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def stage(home: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder of its own for one block, so that what a block writes is new there."""
    _fill(tmp_path, tiny_model)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize("block", [each for each in blocks("bash") if not each.why_not_run], ids=str)
def test_commands_run(block: Block, stage: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert block.commands
    for program, *arguments in block.commands:
        assert program == "thickets", f"only commands of thickets are run here; mark the block: {program}"
        assert _status(stage, arguments) == 0, capsys.readouterr().err


@pytest.mark.parametrize("block", [each for each in blocks("python") if not each.why_not_run], ids=str)
def test_python_runs(block: Block, stage: pytest.MonkeyPatch) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
