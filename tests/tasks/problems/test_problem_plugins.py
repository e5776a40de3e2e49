"""Problems of installed packages: the one that docs/problems.md shows, broken ones, and names that are taken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, find_kind, load_problem, own_kinds
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.kind import _of_packages
from thickets.tasks.problems.shown import sample, shown
from thickets.tasks.types import FULL

ROOT = Path(__file__).parents[3]
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lay a distribution of one module where Python looks for both."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    _of_packages.cache_clear()
    before = set(sys.modules)

    def lay(name: str, version: str, points: dict[str, str], source: str) -> Path:
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        listed = "\n".join(f"{point} = {value}" for point, value in points.items())
        (info / "entry_points.txt").write_text(f"[thickets.problems]\n{listed}\n")
        module = next(iter(points.values())).partition(":")[0]
        (folder / f"{module}.py").write_text(source)
        return folder

    yield lay
    _of_packages.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def documented() -> tuple[dict[str, Any], str]:
    """The package of docs/problems.md: its pyproject.toml and its module."""
    text = (ROOT / "docs/problems.md").read_text(encoding="utf-8")
    [project] = re.findall(r"```toml\n# pyproject.toml\n(.*?)```", text, re.DOTALL)
    [module] = re.findall(r'```python\n("""sorted_words.py.*?)```', text, re.DOTALL)
    return tomllib.loads(project)["project"], module


@pytest.fixture
def sorted_words(install: Install) -> Path:
    project, module = documented()
    return install(project["name"], project["version"], project["entry-points"]["thickets.problems"], module)


@pytest.mark.usefixtures("sorted_words")
def test_the_documented_package_makes_and_judges_questions() -> None:
    kind = find_kind("sorted_words")
    assert kind is not None
    assert kind in own_kinds()
    assert kind.source == "sorted-words 1.0"
    problem = load_problem(ProblemConfig(name="sorted_words", options={"words": 4}))
    first, *_ = problem.examples(3, seed=1)
    assert problem.examples(1, seed=1) == [first]
    verdicts = Judge(problem).judge([f"In order: {first.answer.title()}.", "apple", "house"], [first] * 3)
    assert [(each.answer, each.score) for each in verdicts] == [(first.answer, FULL), (None, 0), (None, 0)]
    asked, (_, example) = sample(kind), shown(kind)
    assert example.question in asked.prompt
    with pytest.raises(InputError, match=r"problem\.options\.words is 5; it must be 2, 3 or 4"):
        load_problem(ProblemConfig(name="sorted_words", options={"words": 5}))


def test_package_and_source_are_part_of_the_identity(sorted_words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identities() -> list[dict[str, Any]]:
        _of_packages.cache_clear()
        problem = load_problem(ProblemConfig(name="sorted_words"))
        return [dict(problem.identity()), dict(problem.judgement()), Judge(problem).identity()]

    before = identities()
    assert {each["package"] for each in before} == {"sorted-words 1.0"}
    assert before[0]["words"] == 3
    module = sorted_words / "sorted_words.py"
    module.write_text(module.read_text() + "# changed\n")
    assert all(old != new for old, new in zip(before, identities(), strict=True))


def test_the_command_line_lists_shows_and_judges_it(sorted_words: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(f"model: nowhere\nproblem: {{name: sorted_words}}\nstorage: {{home: {tmp_path / 'home'}}}\n")
    script = (
        "import sys; from thickets.flows.cli.main import app; app(sys.argv[1:], standalone_mode=False)"  # as installed
    )

    def thickets(*arguments: str) -> str:
        found = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(sorted_words)])},
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    listed = thickets("problems")
    assert re.search(r"^sorted_words +Generated: .* order\. \(of sorted-words 1\.0\)$", listed, re.MULTILINE)
    [example] = load_problem(ProblemConfig(name="sorted_words")).examples(1, seed=0)
    judged = json.loads(thickets("check", str(config), "--reply", f"{example.answer}.", "--json"))
    assert judged["verdict"] in ("right", "wrong")
    assert judged["extracted"] == example.answer


BROKEN = {
    "no_module": ("absent_module:KIND", "", r"absent_module:KIND cannot be imported \(ModuleNotFoundError: "),
    "no_name": ("broken_one:KIND", "x = 1", r"broken_one:KIND cannot be imported \(AttributeError: "),
    "raises": ("broken_one:KIND", "1 / 0", r"broken_one:KIND cannot be imported \(ZeroDivisionError: division by zero"),
    "leaves": ("broken_one:KIND", "raise SystemExit(3)", r"broken_one:KIND cannot be imported \(SystemExit: 3 at "),
    "no_kind": ("broken_one:KIND", "KIND = 3", r"broken_one:KIND is 3; it must be a thickets\.tasks\.problems\.Kind"),
    "other": (
        "broken_one:KIND",
        "from thickets.tasks.problems import Kind\nKIND = Kind('another', 'One.', int, ())",
        r"its Kind is called 'another'; entry point and Kind must have one name",
    ),
    "field": (
        "broken_one:KIND",
        "from thickets.tasks.problems import Kind\nKIND = Kind('field', 'One.', int, ('paths',))",
        r"Kind\.fields has 'paths', which is no field of the problem section",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.usefixtures("sorted_words")
def test_a_broken_package_is_one_warning_and_breaks_nothing(
    name: str, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    point, source, why = BROKEN[name]
    folder = install("broken-package", "2.1", {name: "broken_one:KIND"}, source)
    listed = folder / "broken_package-2.1.dist-info" / "entry_points.txt"
    listed.write_text(listed.read_text().replace("broken_one:KIND", point))
    assert "sorted_words" in [kind.name for kind in own_kinds()]
    assert find_kind(name) is None
    [message] = caplog.messages
    assert re.match(rf"problem '{name}' of broken-package 2\.1 cannot be used: {why}", f"{message}"), message
    assert "\n" not in message
    load_problem(ProblemConfig(name="sorted_words"))


def test_a_name_that_is_taken_is_refused_and_says_by_whom(
    sorted_words: Path, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    source = (sorted_words / "sorted_words.py").read_text()
    points = {"sorted_words": "third_party:KIND", "countdown": "third_party:KIND"}
    install("third-party", "0.1", points, source)
    kinds = {kind.name: kind.source for kind in own_kinds()}
    assert (kinds["sorted_words"], kinds["countdown"]) == ("sorted-words 1.0", "")
    assert sorted(caplog.messages) == [
        "problem 'countdown' of third-party 0.1 cannot be used: the name is taken by thickets itself",
        "problem 'sorted_words' of third-party 0.1 cannot be used: the name is taken by sorted-words 1.0",
    ]


def test_a_problem_that_cannot_be_made_is_one_line(install: Install) -> None:
    source = "def make(config):\n    return 1 / 0\nKIND = Kind('no', 'No.', make, ())"
    source = f"from thickets.tasks.problems import Kind\n{source}"
    install("makes-none", "1.0", {"no": "makes_none:KIND"}, source)
    with pytest.raises(InputError, match=r"'no', of makes-none 1\.0, which cannot be made: ZeroDivisionError.*:3"):
        load_problem(ProblemConfig(name="no"))
