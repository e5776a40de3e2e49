"""The verifier that a config names."""

from __future__ import annotations

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.verifiers import CHOICE, EXACT, MATH, MOLECULE, NUMERIC, Verifier, function_verifier, regex_verifier
from thickets.tasks.verifiers.own_code import trainer_of
from thickets.tasks.verifiers.programs import program_verifier
from thickets.tasks.verifiers.rewards import RewardSettings, reward_verifier, whole_text
from thickets.tasks.verifiers.similarity import similarity_verifier

_WITHOUT_SETTINGS = {"exact": EXACT, "numeric": NUMERIC, "math": MATH, "choice": CHOICE, "molecule": MOLECULE}


def make_verifier(config: ProblemConfig) -> Verifier:
    """Return the verifier that a config names.

    Raises:
        InputError: The user's own function cannot be imported.
    """
    match config.verifier or "exact":
        case name if name in _WITHOUT_SETTINGS:
            return _WITHOUT_SETTINGS[name]
        case "regex":
            assert config.pattern is not None  # ProblemConfig requires it
            return regex_verifier(config.pattern)
        case "tests":
            return program_verifier(config.tests_column, config.sandbox, config.right_at)
        case "similarity":
            return similarity_verifier(config.metric, config.right_at)
        case str() as function:
            return _of_function(function, config)


def _of_function(function: str, config: ProblemConfig) -> Verifier:
    trainer, votes = trainer_of(function), config.votes_by
    if trainer is None or votes is None:
        return function_verifier(function, config.right_at)
    settings = RewardSettings(
        answer_column=config.with_own_columns().answer_column,
        answer_form=config.answer_form,
        score_range=config.score_range,
        right_at=config.right_at,
    )
    if votes == "text":
        return reward_verifier(*trainer, whole_text(), settings)
    found = make_verifier(config.model_copy(update={"verifier": votes}))
    return reward_verifier(*trainer, found, settings)
