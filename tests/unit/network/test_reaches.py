"""The traced dataflow of real networks, with a numerical witness: single pixels are moved, and changes are seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dataflow_witness import check_sound, check_tight, witness
from torch import Tensor, nn
from torch.nn import functional

from pimsim.network.dataflow import Edge, Reach
from pimsim.network.importer import import_float
from pimsim.network.program import Program
from pimsim.network.structure import trace_structure

IMAGE, LINE, TOKENS = (3, 11, 9), (3, 1, 14), (1, 6, 4)
WHOLE, SAME = Reach.WHOLE, Reach()


class Lambda(nn.Module):
    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def between(digital: Callable[[Tensor], Tensor], channels: int = 4) -> nn.Module:
    """A digital function between two convolutions ``a`` and ``b``."""
    body: Any = lambda m, x: m.b(digital(m.a(x)))  # noqa: E731 (m is a module with these parts)
    return Lambda(body, a=nn.Conv2d(3, 4, 3, padding=1), b=nn.Conv2d(channels, 2, 1))


def pools() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Hardswish(), nn.AvgPool2d((2, 3), (2, 1), (1, 0), ceil_mode=True),
        nn.Conv2d(4, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 5), nn.Sigmoid(),
        nn.Linear(5, 2),
    )  # fmt: skip


def strided_residual() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = functional.relu(m.bn(m.conv1(x)))
        out = m.conv2(x)
        out += m.down(x)
        out = functional.relu_(out)
        return m.fc(torch.flatten(m.conv3(out) * 0.5 + out, 1))

    return Lambda(
        body, conv1=nn.Conv2d(3, 4, 3, padding=1), bn=nn.BatchNorm2d(4), conv2=nn.Conv2d(4, 4, 3, 2, 1),
        down=nn.Conv2d(4, 4, 1, 2), conv3=nn.Conv2d(4, 4, 3, padding=1), fc=nn.Linear(4 * 6 * 5, 2),
    )  # fmt: skip


def option_a() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = functional.relu(m.conv1(x))
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return m.conv3(functional.relu(m.conv2(x) + short)).mean(dim=(2, 3))

    return Lambda(
        body, conv1=nn.Conv2d(3, 4, 3, padding=1), conv2=nn.Conv2d(4, 6, 3, 2, 1), conv3=nn.Conv2d(6, 2, 3, padding=1)
    )


def branches() -> nn.Module:
    """Concatenation, a channel shuffle, a split, and a gate for each channel."""

    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = torch.cat([m.one(x), functional.max_pool2d(m.three(x), 3, 1, 1)], dim=1)
        x = x.view(x.shape[0], 2, 4, *x.shape[2:]).transpose(1, 2).contiguous().flatten(1, 2)
        left, right = x.chunk(2, dim=1)
        gate = torch.sigmoid(m.gate(right.mean((2, 3), keepdim=True)))
        return m.last(left * gate + right)

    return Lambda(
        body, one=nn.Conv2d(3, 4, 1), three=nn.Conv2d(3, 4, 3, padding=1), gate=nn.Conv2d(4, 4, 1),
        last=nn.Conv2d(4, 2, 1),
    )  # fmt: skip


def one_dimension() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = functional.max_pool1d(m.a(x.squeeze(2)), 3, 2, 1)
        x = functional.avg_pool1d(m.b(x).relu(), 2)
        return m.c(x.unsqueeze(2))

    return Lambda(body, a=nn.Conv1d(3, 4, 3), b=nn.Conv1d(4, 4, 1), c=nn.Conv2d(4, 2, 1))


def mixer() -> nn.Module:
    """Tokens: layer norm and residuals keep them apart, the transposed layer mixes them."""

    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = m.embed(x.squeeze(1))
        x = x + m.second(functional.gelu(m.first(m.norm(x))))
        x = x.reshape(-1, 5)
        return m.mix(m.head(x).reshape(-1, 6, 4).transpose(1, 2))

    return Lambda(
        body, embed=nn.Linear(4, 5), norm=nn.LayerNorm(5), first=nn.Linear(5, 7), second=nn.Linear(7, 5),
        head=nn.Linear(5, 4), mix=nn.Linear(6, 3),
    )  # fmt: skip


def written() -> nn.Module:
    """In-place writes into views, whose results are read under the name of what was written into."""

    def body(m: nn.Module, x: Tensor) -> Tensor:
        one, two = m.one(x), m.two(x)
        one[:, :, 1:] += two[:, :, :-1]
        two[:, :, 0] = 0
        both = m.three(one)
        both.add_(two)
        return m.last(both)

    return Lambda(body, **{name: nn.Conv2d(3, 3, 1) for name in ("one", "two", "three", "last")})


#: Digital functions that a reach describes, and their reach in rows and columns.
DESCRIBED = {
    "dilated max pool": (lambda x: functional.max_pool2d(x, 3, 2, 1, (2, 1)), Reach(2, -1, 3), Reach(2, -1, 1)),
    "ceil mode": (lambda x: functional.max_pool2d(x, 2, 2, ceil_mode=True), Reach(2, 0, 1), Reach(2, 0, 1)),
    "pad and pool": (
        lambda x: functional.avg_pool2d(functional.pad(x, (1, 2, 3, 0)), 4, 2), Reach(2, -3, 0), Reach(2, -1, 2)
    ),
    "crop": (lambda x: functional.pad(x, (-2, -1)), SAME, Reach(1, 2, 2)),
    "slices": (lambda x: x[:, :, 1::3, -4:], Reach(3, 1, 1), Reach(1, 5, 5)),
    "narrow": (lambda x: x.narrow(2, 2, 5), Reach(1, 2, 2), SAME),
    "replicated border": (
        lambda x: functional.pad(x, (1, 1, 2, 2), mode="replicate"), Reach(1, -2, -2), Reach(1, -1, -1)
    ),
    "mean of a column": (lambda x: x - x.mean(2, keepdim=True), WHOLE, SAME),
    "mean of channels": (lambda x: x * x.mean(1, keepdim=True).clamp(-2, 5000), SAME, SAME),
    "softmax over channels": (lambda x: torch.softmax(x * 1e-3, 1), SAME, SAME),
    "selected channels": (lambda x: torch.stack([x[:, 0], x[:, 3], x[:, 1], x.amax(1)], 1), SAME, SAME),
    "roll": (lambda x: torch.roll(x, 1, 3), SAME, WHOLE),
    "two poolings": (
        lambda x: functional.max_pool2d(x, 3, 2, 1) + functional.avg_pool2d(x, 2, 2, ceil_mode=True),
        Reach(2, -1, 1), Reach(2, -1, 1),
    ),
    "two steps": (lambda x: functional.max_pool2d(x, 3, 3)[:, :, :, :3] + x[:, :, :3, :3], WHOLE, WHOLE),
}  # fmt: skip
#: Digital functions without a rule, or with a reach that is no interval of a fixed step.
WAITING = {
    "uneven adaptive pool": lambda x: functional.adaptive_max_pool2d(x, (4, 4)),
    "reflected border": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "upsampling": lambda x: functional.interpolate(x, scale_factor=2),
    "transposed": lambda x: x.transpose(2, 3),
    "another layout": lambda x: x.reshape(x.shape[0], 4, 9, 11),
    "flattened roll": lambda x: torch.roll(x, 1),
    "largest of all": lambda x: x / x.amax((2, 3), keepdim=True),
    "matrix product": lambda x: x @ x.transpose(2, 3),
}


def traced(module: nn.Module, shape: tuple[int, int, int]) -> tuple[Program, dict[tuple[str, str], Edge]]:
    program, _ = import_float(module.eval(), shape)
    return program, by_layers(program)


def by_layers(program: Program) -> dict[tuple[str, str], Edge]:
    return {(edge.producer, edge.consumer): edge for edge in trace_structure(program).edges}


def check_all_sound(program: Program, edges: dict[tuple[str, str], Edge]) -> None:
    for step in program.crossbar_steps:
        assert step.crossbar is not None
        check_sound(witness(program, step.crossbar.name), step.crossbar.name, edges)


@pytest.mark.parametrize(
    ("make", "shape", "found"),
    [
        (
            pools, IMAGE,
            "0>4 2,-1,1 2,-1,1; 4>7 2,-1,0 1,0,2; 7>11 3,0,2 2,0,1; 11>13 1,0,0 1,0,0",
        ),
        (
            strided_residual, IMAGE,
            "conv1>conv2 1,0,0 1,0,0; conv1>down 1,0,0 1,0,0; conv2>conv3 1,0,0 1,0,0; down>conv3 1,0,0 1,0,0; "
            "conv2>fc 0,0,0 0,0,0; down>fc 0,0,0 0,0,0; conv3>fc 0,0,0 0,0,0",
        ),
        (option_a, IMAGE, "conv1>conv2 1,0,0 1,0,0; conv1>conv3 2,0,0 2,0,0; conv2>conv3 1,0,0 1,0,0"),
        (
            branches, IMAGE,
            "one>gate 11,0,10 9,0,8; three>gate 11,-1,11 9,-1,9; one>last 1,0,0 1,0,0; three>last 1,-1,1 1,-1,1; "
            "gate>last 0,0,0 0,0,0",
        ),
        (one_dimension, LINE, "a>b 1,0,0 2,-1,1; b>c 1,0,0 2,0,1"),
        (
            mixer, TOKENS,
            "embed>first 1,0,0 1,0,0; first>second 1,0,0 1,0,0; embed>head 1,0,0 1,0,0; second>head 1,0,0 1,0,0; "
            "head>mix 0,0,0 0,0,0",
        ),
        (
            written, IMAGE,
            "one>three 0,0,0 0,0,0; two>three 0,0,0 0,0,0; two>last 0,0,0 0,0,0; three>last 1,0,0 1,0,0",
        ),
    ],
)  # fmt: skip
def test_the_dataflow_of_a_network(make: Callable[[], nn.Module], shape: tuple[int, int, int], found: str) -> None:
    program, edges = traced(make(), shape)
    check_all_sound(program, edges)
    assert "; ".join(map(line, edges.values())) == found


def line(edge: Edge) -> str:
    rows, columns = (f"{reach.step},{reach.first},{reach.last}" for reach in (edge.rows, edge.columns))
    return f"{edge.producer}>{edge.consumer} {rows} {columns}"


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_reach_of_a_digital_function(name: str) -> None:
    digital, rows, columns = DESCRIBED[name]
    program, edges = traced(between(digital), IMAGE)
    assert edges == {("a", "b"): Edge("a", "b", rows, columns)}
    check_all_sound(program, edges)


@pytest.mark.parametrize("name", WAITING)
def test_what_has_no_reach_waits_for_the_whole_map(name: str) -> None:
    program, edges = traced(between(WAITING[name]), IMAGE)
    assert edges == {("a", "b"): Edge("a", "b", WHOLE, WHOLE)}
    check_all_sound(program, edges)


def test_shapes_of_a_value_are_no_source() -> None:
    module = between(lambda x: torch.ones_like(x))
    assert traced(module, IMAGE)[1] == {}


@pytest.mark.parametrize("make", [pools, option_a])
def test_the_reach_between_convolutions_is_tight(make: Callable[[], nn.Module]) -> None:
    program, edges = traced(make(), IMAGE)
    for (producer, consumer), edge in edges.items():
        if edge.rows.step:
            check_tight(witness(program, producer)[consumer], edge)
