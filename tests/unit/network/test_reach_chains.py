"""The traced reach through random chains of pooling, borders and slices, with single pixels moved as the witness."""

from __future__ import annotations

from typing import Any

import torch
from dataflow_witness import check_sound, check_tight, witness
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pimsim.network.dataflow import Edge, Reach
from pimsim.network.program import Program
from pimsim.network.steps import CrossbarOp, Step, StepGraph, Value
from pimsim.network.structure import trace_structure

aten = torch.ops.aten
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
pooling = st.tuples(
    st.sampled_from([aten.max_pool2d.default, aten.avg_pool2d.default]), sizes, sizes, st.booleans(), st.booleans()
)
border = st.tuples(st.just(aten.pad.default), st.lists(st.integers(-2, 3), min_size=4, max_size=4))
cut = st.tuples(
    st.just(aten.slice.Tensor), st.integers(2, 3), st.integers(-3, 3), st.integers(4, 30), st.integers(1, 3)
)
simple = st.tuples(st.sampled_from([aten.relu_.default, aten.sigmoid.default, aten.clone.default]))


def arguments(drawn: tuple[Any, ...]) -> tuple[Any, ...]:
    """What follows the value in a call: pooling has a padding of at most half its kernel."""
    if drawn[0] not in (aten.max_pool2d.default, aten.avg_pool2d.default):
        return drawn[1:]
    kernel, stride, padded, ceil = drawn[1:]
    padding = [size // 2 if padded else 0 for size in kernel]
    between = ([1, 1],) if drawn[0] is aten.max_pool2d.default else ()
    return (list(kernel), list(stride), padding, *between, ceil)


def chained(drawn: list[tuple[Any, ...]]) -> Program:
    """Two 1x1 layers ``a`` and ``b`` with these operations between them."""
    layers = [Step(n, aten.clone.default, (), {}, CrossbarOp(n, "conv2d", torch.ones(1, 1, 1, 1), None)) for n in "ab"]
    steps, value = [Step("a", layers[0].call, (Value("x"),), {}, layers[0].crossbar)], "a"
    for index, operation in enumerate(drawn):
        steps.append(Step(f"v{index}", operation[0], (Value(value), *arguments(operation)), {}))
        value = f"v{index}"
    steps.append(Step("b", layers[1].call, (Value(value),), {}, layers[1].crossbar))
    return Program(StepGraph(tuple(steps), {}, "x", "b"), (1, 9, 12))


def runs(program: Program) -> bool:
    try:
        return program.run_float(torch.zeros(2, *program.input_shape)).numel() > 0
    except RuntimeError:  # a map that got smaller than its kernel
        return False


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(pooling, border, cut, simple), min_size=1, max_size=4))
def test_the_reach_of_any_chain_of_operations_is_sound(drawn: list[tuple[Any, ...]]) -> None:
    program = chained(drawn)
    assume(runs(program))
    check_sound(witness(program, "a"), "a", edges(program))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(pooling, simple), min_size=1, max_size=2))
def test_the_reach_of_a_chain_of_poolings_is_tight(drawn: list[tuple[Any, ...]]) -> None:
    program = chained(drawn)
    assume(runs(program))
    edge = edges(program)["a", "b"]
    changed = witness(program, "a")["b"]
    assume(
        all(is_somewhere_inside(reach, size) for reach, size in zip((edge.rows, edge.columns), (9, 12), strict=True))
    )
    check_tight(changed, edge)


def is_somewhere_inside(reach: Reach, size: int) -> bool:
    return any(p * reach.step + reach.first >= 0 and p * reach.step + reach.last < size for p in range(size))


def edges(program: Program) -> dict[tuple[str, str], Edge]:
    return {(edge.producer, edge.consumer): edge for edge in trace_structure(program).edges}
