"""What clients may ask: OpenAI's fields that can be honoured; what cannot be is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from thickets.flows.serve.errors import RequestError
from thickets.tasks.types import Message

# Fields that a client may send as long as they ask for nothing: with one of these values, or none.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "top_p": (1, 1.0),
    "top_k": (-1, 0),
    "min_p": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "repetition_penalty": (1, 1.0),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "store": (False,),
}
# Fields that say nothing about the answer.
_IGNORED = {"user", "metadata", "safety_identifier", "service_tier", "parallel_tool_calls", "prompt_cache_key"}
_MOST_STOPS = 16
_LEAST_TEMPERATURE = 1e-30


def _text_of_content(content: Any) -> Any:
    """Join the text parts of a turn; an image or a sound among them is refused by name."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise ValueError(f"found a part of type {kind!r}; only parts of type 'text' can be read")
    return "".join(part["text"] for part in content)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _can_divide(temperature: float | None) -> float | None:
    """Refuse a temperature by which logits cannot be divided in float32."""
    if temperature and temperature < _LEAST_TEMPERATURE:
        raise ValueError(f"0 (greedy), or {_LEAST_TEMPERATURE:g} to 2 are allowed")
    return temperature


class Turn(BaseModel):
    """A chat turn. `developer` is what newer clients call `system`."""

    model_config = ConfigDict(extra="ignore")  # name, refusal and the like; a reply with tool calls has no text

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text_of_content)]

    @property
    def message(self) -> Message:
        """Return it as chat templates take it."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class StreamOptions(BaseModel):
    """`include_usage` alone can be honoured."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False


class Extra(BaseModel):
    """Ours: `extra_body={"thickets": {...}}` of the `openai` package.

    Attributes:
        wrap: Put the last user turn into the run's own prompt template; None: as the server was told.
        every: Let all experts answer, also after the vote is decided.
    """

    model_config = ConfigDict(extra="forbid")

    wrap: bool | None = None
    every: bool = False


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: Annotated[float | None, AfterValidator(_can_divide)] = Field(None, ge=0, le=2)
    stop: Annotated[list[str] | None, BeforeValidator(_as_list)] = Field(None, max_length=_MOST_STOPS)
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    thickets: Extra = Extra()

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(_Request):
    """`/v1/chat/completions`."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def most_tokens(self) -> int | None:
        """Return the most new tokens; None: as the run."""
        return self.max_completion_tokens or self.max_tokens


def _without_tokens(value: Any) -> Any:
    """Refuse prompts that are lists of token ids, which clients send who tokenize themselves."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int) or (isinstance(first, list) and all(isinstance(each, int) for each in first)):
        raise ValueError("token ids cannot be read, only text")
    return _as_list(value)


class TextRequest(_Request):
    """`/v1/completions`; the prompt is read as it is. Several are answered as so many choices."""

    prompt: Annotated[list[str], BeforeValidator(_without_tokens)] = Field(min_length=1, max_length=256)

    @property
    def most_tokens(self) -> int | None:
        """Return the most new tokens; None: as the run."""
        return self.max_tokens


R = TypeVar("R", bound=_Request)


def read_chat(body: Any) -> ChatRequest:
    """Read the body of a chat request.

    Raises:
        RequestError: It cannot be honoured; the message names the first field at fault.
    """
    return _read(ChatRequest, body)


def read_text(body: Any) -> TextRequest:
    """Read the body of a request for text; errors as for `read_chat`."""
    return _read(TextRequest, body)


def _read(kind: type[R], body: Any) -> R:
    if not isinstance(body, dict):
        raise RequestError(f"found {type(body).__name__}; a request is one JSON object")
    try:
        request = kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(f"{where}: {message}; found {_short(first['input'])}", param=where) from None
    for name, value in (request.model_extra or {}).items():
        if value is None or name in _IGNORED:
            continue
        allowed = _NOTHING.get(name)
        if allowed is None:
            raise RequestError(f"{name}: cannot be honoured here; leave it out", param=name, code="unsupported")
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed):
            raise RequestError(
                f"{name}: found {_short(value)}; only {' or '.join(map(repr, allowed))} can be honoured here"
                f"{'; a vote has no log-probabilities' if 'logprobs' in name else ''}",
                param=name,
                code="unsupported",
            )
    if request.stop is not None and not all(request.stop):
        raise RequestError("stop: an empty string would end every answer before it begins", param="stop")
    return request


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
