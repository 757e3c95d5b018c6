"""One pass over memory gives what PyTorch's many give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pimsim.pruning.rounding_kernels import can_fuse, memory_order, round_to_step, step_gradients


def drawn(seed: int, shape: tuple[int, ...], scale: float = 2.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 1000), st.sampled_from([(7,), (3, 5), (2, 3, 4, 5), (3, 8, 30, 30)]), st.booleans(),
    st.floats(0.01, 3), st.sampled_from([(0, 15), (-8, 7), (0, 1), (-128, 127)]),
)  # fmt: skip
def test_both_directions_equal_the_plain_arithmetic(
    seed: int, shape: tuple[int, ...], channels_last: bool, step: float, bounds: tuple[int, int]
) -> None:
    values, gradient = drawn(seed, shape), drawn(seed + 1, shape)
    if channels_last and len(shape) == 4:
        values = values.to(memory_format=torch.channels_last)
    scaled = values / torch.tensor(step)
    codes = torch.round(scaled).clamp(*bounds)
    passes = gradient * (scaled.clamp(*bounds) == scaled)
    rounded = round_to_step(values, step, *bounds)
    passed, slope = step_gradients(gradient, values, step, *bounds)
    assert torch.equal(rounded, codes * torch.tensor(step))
    assert torch.equal(passed, passes)
    terms = (gradient * codes - passes * scaled).double()
    assert slope == pytest.approx(float(terms.sum()), abs=1e-5 * float(terms.abs().sum()) + 1e-6)
    assert memory_order(rounded) == memory_order(passed) == memory_order(values)


def test_ties_go_to_even_and_nan_stays_nan() -> None:
    values = torch.tensor([0.5, 1.5, 2.5, -0.5, float("nan"), float("inf")])
    assert round_to_step(values, 1.0, -2, 2)[:4].tolist() == [0.0, 2.0, 2.0, 0.0]
    assert round_to_step(values, 1.0, -2, 2)[4].isnan()
    assert round_to_step(values, 1.0, -2, 2)[5] == 2


def test_what_the_kernels_do_not_take() -> None:
    step = torch.tensor(0.1)
    assert can_fuse(torch.zeros(4, 4), step)
    assert can_fuse(torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last), step)
    assert not can_fuse(torch.zeros(4, 8)[:, ::2], step)
    assert not can_fuse(torch.zeros(4, dtype=torch.float64), step)
    assert not can_fuse(torch.zeros(4), torch.ones(4))
    torch.set_num_threads(2)
    assert not can_fuse(torch.zeros(4, 4), step)
    torch.set_num_threads(1)
