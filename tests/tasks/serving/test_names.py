"""Which models a run's names stand for."""

from __future__ import annotations

import pytest

from tests.tasks.serving.table_engine import EXPERTS, ensemble
from thickets.tasks.serving import Voter
from thickets.tasks.serving.names import Catalogue, UnknownModelError
from thickets.tasks.types import Merge

MERGE = Merge((EXPERTS[0],), (1.0,))
RUN = Catalogue("run-1", ensemble(3, (4, 2, 1)), has_experts=True, merge=MERGE, base="org/base", aliases=("latest",))


def test_every_listed_name_is_found_under_itself() -> None:
    names = RUN.names()
    assert names[0] == "run-1"
    assert len(set(names)) == len(names) == 10
    for name in names:
        assert RUN.find(name).name == name


@pytest.mark.parametrize(
    ("name", "voters"),
    [
        ("run-1", ensemble(3, (4, 2, 1))),
        ("latest", ensemble(3, (4, 2, 1))),
        ("latest:k=2", ensemble(2, (4, 2))),
        ("run-1:rank=2", (Voter(EXPERTS[1]),)),
        ("run-1:merge", (Voter(MERGE),)),
        ("latest:base", (Voter(None),)),
        ("org/base", (Voter(None),)),
    ],
)
def test_a_name_says_who_answers(name: str, voters: tuple[Voter, ...]) -> None:
    assert RUN.find(name).voters == voters
    assert RUN.find(name).name == name.replace("latest", "run-1")


@pytest.mark.parametrize("name", ["", "run", "run-1:", "run-1:k=0", "run-1:k=4", "run-1:k=02", "run-1:rank=4", "base"])
def test_other_names_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"allowed are run-1, run-1:k=1 to 3, run-1:rank=1 to 3, run-1:merge"):
        RUN.find(name)


def test_a_model_that_answers_alone_has_no_parts() -> None:
    single = Catalogue("models:/m@champion", (Voter(None),))
    assert single.names() == ["models:/m@champion"]
    for part in ("k=1", "rank=1", "base", "merge"):
        with pytest.raises(UnknownModelError, match=r"allowed are models:/m@champion$"):
            single.find(f"models:/m@champion:{part}")
