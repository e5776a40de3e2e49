"""What is noted of a model's loading is what it does; whatever is not a plain copy is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch

from thickets.tasks.engines.vllm_destinations import (
    Copy,
    NotPlainError,
    Rows,
    Unread,
    check_taken,
    record_copies,
    rows_of,
)

STORED = {"q": (4, 6), "k": (2, 6), "down": (6, 8), "bias": (4,), "embed": (5, 6)}
Loader = Callable[["Model", str, torch.Tensor], None]


class Model(torch.nn.Module):
    """Loads as vLLM does: q and k are rows of one parameter, and of a divided model each part takes its own share."""

    def __init__(self, rank: int = 0, ranks: int = 1, load: dict[str, Loader] | None = None) -> None:
        super().__init__()
        self.rank, self.ranks, self.changed = rank, ranks, load or {}
        self.attention = torch.nn.Linear(6, 6 // ranks)
        self.attention.bias = torch.nn.Parameter(torch.zeros(4 // ranks))
        self.down = torch.nn.Linear(8 // ranks, 6, bias=False)
        self.embed = torch.nn.Embedding(8, 6)  # three rows of padding
        self.head = torch.nn.Linear(6, 8, bias=False)
        self.head.weight = self.embed.weight

    def share(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        size = tensor.shape[dim] // self.ranks
        return tensor.narrow(dim, self.rank * size, size)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            (self.changed.get(name) or Model.load)(self, name, tensor)

    def load(self, name: str, tensor: torch.Tensor) -> None:
        n_q = 4 // self.ranks
        if name == "q":
            self.attention.weight.data.narrow(0, 0, n_q).copy_(self.share(tensor, 0))
        elif name == "k":
            self.attention.weight[n_q:].data.copy_(self.share(tensor, 0))
        elif name == "bias":
            self.attention.bias.data.copy_(self.share(tensor, 0))
        elif name == "down":
            self.down.weight.data.copy_(self.share(tensor, 1))
        else:
            self.embed.weight[:5].data.copy_(tensor)
            self.embed.weight[5:].data.fill_(0)


def unread(**dtypes: torch.dtype) -> list[Unread]:
    return [Unread(name, shape, dtypes.get(name, torch.float32)) for name, shape in STORED.items()]


def test_every_copy_is_noted_and_nothing_is_written() -> None:
    model = Model()
    before = {name: value.clone() for name, value in model.named_parameters()}
    assert record_copies(model, unread()) == [
        Copy("q", Rows(0, 1, 24, 24), "attention", "weight", 0, torch.float32),
        Copy("k", Rows(0, 1, 12, 12), "attention", "weight", 24, torch.float32),
        Copy("down", Rows(0, 1, 48, 48), "down", "weight", 0, torch.float32),
        Copy("bias", Rows(0, 1, 4, 4), "attention", "bias", 0, torch.float32),
        Copy("embed", Rows(0, 1, 30, 30), "embed", "weight", 0, torch.float32),
    ]
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_the_shares_of_a_divided_model_make_up_the_whole() -> None:
    values = {name: torch.randn(shape) for name, shape in STORED.items()}
    taken = {name: torch.zeros(shape) for name, shape in STORED.items()}
    for rank in range(2):
        model, loaded = Model(rank, 2), Model(rank, 2)
        loaded.load_weights(values.items())
        for copy in record_copies(model, unread()):
            rows = copy.source
            place = (rows.count, rows.length), (rows.stride, 1), rows.start
            taken[copy.stored].as_strided(*place).add_(1)
            flat = model.get_submodule(copy.module).get_parameter(copy.leaf).data.view(-1)
            flat[copy.offset : copy.offset + rows.numel] = values[copy.stored].as_strided(*place).reshape(-1)
        for name, value in loaded.named_parameters():
            held = model.get_parameter(name)
            held.data[5:] = 0 if name == "embed.weight" else held.data[5:]
            assert torch.equal(held, value), name
    times = {name: set(count.unique().tolist()) for name, count in taken.items()}
    assert times == {"q": {1}, "k": {1}, "down": {1}, "bias": {1}, "embed": {2}}  # the embedding is on both


def scaled(model: Model, name: str, tensor: torch.Tensor) -> None:
    model.down.weight.data.copy_(tensor * 2)


def added(model: Model, name: str, tensor: torch.Tensor) -> None:
    Model.load(model, name, tensor)
    model.down.weight.data.add_(1)


def columns(model: Model, name: str, tensor: torch.Tensor) -> None:
    model.down.weight.data[:, :4].copy_(tensor[:, :4])
    model.down.weight.data[:, 4:].copy_(tensor[:, 4:])


def looked_at(model: Model, name: str, tensor: torch.Tensor) -> None:
    model.down.weight.data.fill_(tensor.sum().item())


@pytest.mark.parametrize(
    ("stored", "load", "message"),
    [
        ("down", scaled, r"down\.weight: .* computed from the stored tensor down"),
        ("down", added, r"down\.weight: aten\.add_.* is applied to it"),
        ("down", columns, r"down\.weight: .* does not lie in a row"),
        ("down", looked_at, "while down was loaded: .*"),
        ("down", lambda model, name, tensor: None, r"down\.weight: is not loaded"),
        ("down", lambda model, name, tensor: model.down.weight[1:].data.copy_(tensor[1:]), r"down\.weight: .* in part"),
        ("down", lambda model, name, tensor: model.down.weight.data.fill_(1), r"down\.weight: aten\.fill_"),
        ("down", lambda model, name, tensor: model.down.weight.data.copy_(tensor[0]), r"down: .*\[8\] is copied to"),
        ("down", lambda model, name, tensor: model.down.weight.data.copy_(tensor.t().reshape(6, 8)), "computed from"),
        ("bias", lambda model, name, tensor: model.attention.bias.data.copy_(tensor.flip(0)), "computed from"),
        ("bias", lambda model, name, tensor: [Model.load(model, name, tensor) for _ in "ab"], r"bias: is loaded twice"),
    ],
)
def test_what_is_more_than_a_plain_copy_is_refused_by_name(stored: str, load: Loader, message: str) -> None:
    with pytest.raises(NotPlainError, match=message):
        record_copies(Model(load={stored: load}), unread())


def test_a_parameter_that_is_replaced_is_put_back() -> None:
    meta = torch.device("meta")
    model = Model(load={"down": lambda model, name, tensor: setattr(model.down.weight, "data", tensor)}).to(meta)
    held = model.down.weight.untyped_storage()._cdata
    with pytest.raises(NotPlainError, match=r"down\.weight: it is replaced"):
        record_copies(model, unread())
    assert model.down.weight.untyped_storage()._cdata == held


def test_another_type_is_refused() -> None:
    with pytest.raises(NotPlainError, match=r"bias: torch\.float64 \[4\] is copied to torch\.float32"):
        record_copies(Model(), unread(bias=torch.float64))


def test_what_is_widened_is_a_copy_of_its_own_type() -> None:
    found = record_copies(Model(), unread(bias=torch.bfloat16))
    assert {copy.stored: copy.dtype for copy in found if copy.dtype != torch.float32} == {"bias": torch.bfloat16}
    with pytest.raises(NotPlainError, match=r"attention\.weight: its parts are of several types"):
        record_copies(Model(), unread(k=torch.bfloat16))


def test_a_perturbed_tensor_that_is_not_loaded_is_refused_unless_it_is_tied() -> None:
    copies = record_copies(Model(), unread())
    check_taken(copies, {"embed": "embed.weight", "head": "embed.weight"})
    with pytest.raises(NotPlainError, match="extra: vLLM does not load it"):
        check_taken(copies, {"embed": "embed.weight", "extra": "extra.weight"})


def test_views_are_described_as_rows_where_they_can_be() -> None:
    whole = torch.arange(120.0).view(4, 5, 6)
    assert rows_of(whole) == Rows(0, 1, 120, 120)
    assert rows_of(whole[2:]) == Rows(60, 1, 60, 60)
    assert rows_of(whole[:, 1:3]) == Rows(6, 4, 12, 30)
    assert rows_of(whole[:, :, 2:4]) == Rows(2, 20, 2, 6)
    assert rows_of(whole[1, 1, 1]) == Rows(37, 1, 1, 1)
    assert rows_of(whole[:, 1:3, 1:3]) is None
    assert rows_of(whole.transpose(0, 1)) is None
    assert rows_of(whole[..., ::2]) is None
