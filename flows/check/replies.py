"""Lets the base answer a run's first questions, and shows each verdict with its reason; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from thickets.flows.check.prompt import FirstPrompt, first_prompt, is_meant
from thickets.flows.check.verdict import UNFINISHED_THOUGHT, CheckedReply, check_reply
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.description import describe_engine
from thickets.flows.placement.short_lived import short_lived_engine
from thickets.flows.plan import RunPlan, make_plan, own_limit
from thickets.storage.errors import InputError
from thickets.tasks.engines import Engine, EngineSpec, build_engine, resolve_spec
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.engines.labels import LabelEngine, shares
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.problems import Problem, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import Splits, draw_splits
from thickets.tasks.results.text import percent
from thickets.tasks.scoring.units import Block, sampling_of
from thickets.tasks.types import Example

_MOST_LABELS_SHOWN = 4
_MANY = 1 / 5  # of the replies: with more, the figures of a run would be about its settings
_TELLING = 10  # replies: of fewer, all may be wrong by chance


class Check(BaseModel):
    """What a run will ask, and how it will judge what the base answers."""

    model_config = ConfigDict(frozen=True)

    model: str
    problem: str
    engine: str = Field("", description="The engine and what it runs on; empty if none was started.")
    max_tokens: int = Field(description="Most new tokens of a reply; the problem's own if the limit is learned.")
    prompt: FirstPrompt
    replies: tuple[CheckedReply, ...] = Field(description="The base's, to the first questions of the selection split.")
    n_right: int
    n_wrong: int
    n_abstained: int
    n_cut_off: int = Field(description="Of all replies, whatever their verdict.")
    warnings: tuple[str, ...] = Field((), description="What to change before a run, a line each.")


def check(
    config: RunConfig, *, n: int = 20, row: str | None = None, build: Callable[[EngineSpec], Engine] = build_engine
) -> Check:
    """Show the first prompt, and the base's replies to the first questions of the selection split.

    Args:
        config: The run, of one problem.
        n: How many replies; with 0 no engine is started.
        row: Id or question of the example whose prompt is shown; None: the first of the selection split.
        build: Builds the engine.

    Raises:
        InputError: Something in the configuration cannot be used, or there is no such example.
    """
    base = find_base_model(config.model, config.revision, trust_remote_code=config.engine.trust_remote_code)
    problem, splits = _problem(config)
    limited = own_limit(config) if config.decoding.learns_limit else config
    # Finding out what `auto` means here loads PyTorch, for seconds.
    plan = make_plan(limited, base, problem, splits, resolve_spec if n else lambda spec: spec)
    prompt = first_prompt(plan, row)
    replies = _replies(plan, n, build) if n else ()
    engine = describe_engine(plan) if n else None
    verdicts = [reply.verdict for reply in replies]
    return Check(
        model=base.name,
        problem=config.single_problem.title,
        engine="" if engine is None else str(engine),
        max_tokens=plan.sampling.max_tokens,
        prompt=prompt,
        replies=replies,
        n_right=verdicts.count("right"),
        n_wrong=verdicts.count("wrong"),
        n_abstained=verdicts.count("abstains"),
        n_cut_off=sum(reply.cut_off for reply in replies),
        warnings=(
            *(engine.warnings if engine else plan.warnings),
            *_prompt_warnings(prompt),
            *_warnings(replies, plan),
        ),
    )


def check_own_reply(config: RunConfig, reply: str, *, row: str | None = None) -> CheckedReply:
    """Judge a reply of the user's to one question; no model is needed.

    Args:
        config: The run, of one problem.
        reply: The whole reply.
        row: Id or question of the example; None: the first of the selection split.

    Raises:
        InputError: Something in the configuration cannot be used, or there is no such example.
    """
    [found] = check_own_replies(config, [(row, reply)], field="--row")
    return found


def check_own_replies(
    config: RunConfig, replies: Sequence[tuple[str | None, str]], *, field: str = "replies"
) -> list[CheckedReply]:
    """Judge replies of the user's, each to the question beside it; see `check_own_reply`.

    Args:
        config: The run, of one problem.
        replies: Pairs of a row and a whole reply.
        field: What names the rows, for errors.

    Raises:
        InputError: As for `check_own_reply`.
    """
    problem, splits = _problem(config)
    judge, name = Judge(problem, config.decoding.reasoning), _verifier(config)
    first = splits.selection.examples[0]
    return [
        check_reply(judge, name, first if row is None else _example(config, problem, splits, row, field), reply)
        for row, reply in replies
    ]


def _problem(config: RunConfig) -> tuple[Problem, Splits]:
    problem, data = load_problem(config.single_problem), config.data
    return problem, draw_splits(problem, **data.draw)


def _verifier(config: RunConfig) -> str:
    problem = config.single_problem
    return problem.verifier or ("exact" if problem.name == "file" else problem.name)


def _example(config: RunConfig, problem: Problem, splits: Splits, row: str, field: str) -> Example:
    """Find an example by its id or its question: in the splits, else in all of the problem's data."""
    drawn = [example for split in splits for example in split.examples]
    every = [*drawn, *problem.examples(len(drawn), config.data.seed), *(problem.test_examples() or ())]
    for example in every:
        if is_meant(example, row):
            return example
    first = ", ".join(example.id for example in splits.selection.examples[:3])
    raise InputError(f"{field}: no row has the id or question {row!r}; the first of the selection split are {first}")


def _replies(plan: RunPlan, n: int, build: Callable[[EngineSpec], Engine]) -> tuple[CheckedReply, ...]:
    block = plan.first_questions(n)
    sampling = sampling_of(None, block, plan.sampling)
    with short_lived_engine(plan, build) as engine:
        engine.load(None)
        completions = engine.generate(block.prompts, sampling)
        chances = _chances(engine, block)
    judge, name = plan.judge, _verifier(plan.config)
    ends = kind_of(plan.base.path).ends_answers  # else the limit cuts nothing off
    return tuple(
        check_reply(
            judge,
            name,
            example,
            completion.text,
            plan.sampling.max_tokens if ends and completion.finish_reason == "length" else None,
            among,
        )
        for example, completion, among in zip(block.examples, completions, chances, strict=True)
    )


def _chances(engine: Engine, block: Block) -> list[str]:
    """Say of each question how probable its labels are among each other, the likeliest first; empty without labels."""
    if block.labels is None or not isinstance(engine, LabelEngine):
        return [""] * len(block.examples)
    found = []
    for labels, likelihoods in zip(
        block.labels.of_prompts, engine.likelihoods(block.prompts, block.labels), strict=True
    ):
        pairs = zip(labels, shares(labels, likelihoods, block.labels), strict=True)
        ranked = sorted(pairs, key=lambda pair: -pair[1])[:_MOST_LABELS_SHOWN]
        found.append(", ".join(f"{label.answer} {percent(share, 0)}" for label, share in ranked))
    return found


def _prompt_warnings(prompt: FirstPrompt) -> list[str]:
    if prompt.n_bos > 1:
        return [f"the prompt begins with {prompt.n_bos} tokens {prompt.bos}: the chat template writes one too many"]
    return []


def _warnings(replies: tuple[CheckedReply, ...], plan: RunPlan) -> list[str]:
    """Return what to change where more than a fifth of the replies is cut off or has no answer."""
    n, limit = len(replies), plan.sampling.max_tokens
    thinking = sum(UNFINISHED_THOUGHT in reply.why for reply in replies)
    cut_off = sum(reply.cut_off and UNFINISHED_THOUGHT not in reply.why for reply in replies)
    without = sum(
        reply.verdict == "abstains" and UNFINISHED_THOUGHT not in reply.why for reply in replies if not reply.cut_off
    )
    if thinking + cut_off + without <= _MANY * n:
        return _all_alike(replies, plan)
    remedies = {
        f"in the middle of a thought: raise decoding.max_tokens (now {limit}), or turn thinking off where the chat "
        "template can: decoding.chat_template_kwargs: {enable_thinking: false}": thinking,
        f"cut off: raise decoding.max_tokens (now {limit}), ask for shorter answers in problem.instruction, or end "
        "them with decoding.stop": cut_off,
        "without an answer that can be read: say in problem.instruction how an answer is to be written, or take "
        "another problem.verifier": without,
    }
    most = max(remedies.values())
    return [f"{count} of {n} replies {text}" for text, count in remedies.items() if count > _MANY * n or count == most]


def _all_alike(replies: tuple[CheckedReply, ...], plan: RunPlan) -> list[str]:
    """Return what to change where no reply is right, not even in part, or all of them are."""
    n, n_right = len(replies), sum(reply.verdict == "right" for reply in replies)
    if n < _TELLING or (n_right < n and any(reply.score for reply in replies)):
        return []
    if n_right == n:
        return [f"all {n} replies are right, so little is left to gain: ask harder questions, or take a smaller model"]
    shown = "" if plan.config.single_problem.path is None else "show worked examples (problem.examples) or "
    return [
        f"none of {n} replies is right, so there may be nothing to select by: where the right answer stands in them, "
        f"change problem.instruction or problem.verifier; else {shown}take a larger model"
    ]
