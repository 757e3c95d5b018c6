"""Truncated factors of a weight: both theorems of the paper, the two convolutions, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pimsim.errors import PruningError
from pimsim.network.modules import load_module
from pimsim.network.quantizers import LayerQuantization
from pimsim.pruning.low_rank import Factors, LowRankMethod, factorise, parse_rank
from pimsim.pruning.trained import TrainedNetwork

MODEL = f"{Path(__file__).parents[3] / 'models' / 'digits_cnn.py'}:digits_cnn"


@st.composite
def weights(draw: Any) -> tuple[Tensor, int, int]:
    """A weight in float64, a number of groups that divides its inputs, and a rank that every group has."""
    groups, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    outputs, kernel = draw(st.integers(1, 7)), draw(st.sampled_from([(1, 1), (3, 3), (2, 3)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(outputs, groups * inputs, *kernel, generator=generator, dtype=torch.float64)
    return weight, groups, draw(st.integers(1, min(outputs, inputs * kernel[0] * kernel[1])))


def product(factors: Factors, groups: int) -> Tensor:
    """The weight that the two convolutions stand for, from their definition, one channel at a time."""
    middle, inputs = factors.reduce.shape[0], factors.reduce.shape[1]
    whole = torch.zeros(factors.expand.shape[0], inputs * groups, *factors.reduce.shape[2:], dtype=torch.float64)
    for channel in range(middle):
        first = channel // (middle // groups) * inputs
        for output in range(len(whole)):
            whole[output, first : first + inputs] += factors.expand[output, channel] * factors.reduce[channel]
    return whole


@given(weights())
@settings(max_examples=40, deadline=None)
def test_theorem_1_groups_of_the_same_rank_never_lose_more(case: tuple[Tensor, int, int]) -> None:
    weight, groups, rank = case
    assert factorise(weight, rank, groups).error <= factorise(weight, rank).error + 1e-9


def sdk_matrix(weight: Tensor, outputs: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """The SDK matrix (windows' output positions x channels) x (channels x window pixels), entry by entry."""
    channels, inputs, height, width = weight.shape
    sides = [k + (n - 1) * s for k, n, s in zip((height, width), outputs, stride, strict=True)]
    matrix = torch.zeros(outputs[0] * outputs[1] * channels, inputs * sides[0] * sides[1], dtype=weight.dtype)
    for place in range(outputs[0] * outputs[1]):
        top, left = (place // outputs[1]) * stride[0], (place % outputs[1]) * stride[1]
        for oc in range(channels):
            for ic in range(inputs):
                for row in range(height):
                    for column in range(width):
                        pixel = (ic * sides[0] + top + row) * sides[1] + left + column
                        matrix[place * channels + oc, pixel] = weight[oc, ic, row, column]
    return matrix


def ungrouped(reduce: Tensor, groups: int) -> Tensor:
    """The grouped convolution as one over all inputs, zero outside its group."""
    middle, inputs = reduce.shape[:2]
    full = torch.zeros(middle, inputs * groups, *reduce.shape[2:], dtype=reduce.dtype)
    for channel in range(middle):
        first = channel // (middle // groups) * inputs
        full[channel, first : first + inputs] = reduce[channel]
    return full


@given(weights(), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.tuples(st.integers(1, 2), st.integers(1, 2)))
@settings(max_examples=25, deadline=None)
def test_theorem_2_the_factors_of_the_sdk_matrix_are_copies_of_the_factors(
    case: tuple[Tensor, int, int], outputs: tuple[int, int], stride: tuple[int, int]
) -> None:
    weight, groups, rank = case
    factors = factorise(weight, rank, groups)
    copies = torch.block_diag(*[factors.expand.flatten(1)] * (outputs[0] * outputs[1]))
    factored = copies @ sdk_matrix(ungrouped(factors.reduce, groups), outputs, stride)
    assert torch.allclose(factored, sdk_matrix(product(factors, groups), outputs, stride), atol=1e-10)


@given(weights())
@settings(max_examples=40, deadline=None)
def test_the_error_is_that_of_the_product(case: tuple[Tensor, int, int]) -> None:
    weight, groups, rank = case
    factors = factorise(weight, rank, groups)
    assert factors.error == pytest.approx(float((weight - product(factors, groups)).norm()), abs=1e-9)


def test_the_error_is_the_norm_of_the_singular_values_left_out() -> None:
    # Singular values 3, 2 and 1 by construction; rank 1 leaves sqrt(2^2 + 1^2).
    weight = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)).reshape(3, 3, 1, 1)
    assert factorise(weight, 1).error == pytest.approx(math.sqrt(5))


def test_the_full_rank_is_the_weight_itself() -> None:
    weight = torch.randn(4, 6, 3, 3)
    assert torch.allclose(product(factorise(weight, 4, 2), 2).float(), weight, atol=1e-5)


def test_two_convolutions_compute_the_product() -> None:
    weight, images = torch.randn(5, 6, 3, 3, dtype=torch.float64), torch.randn(2, 6, 9, 9, dtype=torch.float64)
    factors = factorise(weight, 2, 3)
    middle = functional.conv2d(images, factors.reduce, stride=2, padding=1, groups=3)
    whole = functional.conv2d(images, product(factors, 3), stride=2, padding=1)
    assert torch.allclose(functional.conv2d(middle, factors.expand), whole, atol=1e-10)


def test_both_factors_have_the_same_norms_channel_by_channel() -> None:
    factors = factorise(torch.randn(8, 4, 3, 3), 3)
    assert torch.allclose(factors.reduce.flatten(1).norm(dim=1), factors.expand.flatten(1).norm(dim=0), atol=1e-5)


@pytest.mark.parametrize(("text", "rank"), [("16", 16), ("1/4", 8), ("1/3", 10), ("1/64", 1), ("2/2", 32)])
def test_a_rank_is_a_number_or_a_fraction_of_the_outputs(text: str, rank: int) -> None:
    assert parse_rank(text, 32) == rank


@pytest.mark.parametrize("text", ["0", "-1", "1/0", "0/4", "3/2", "1.5", "a", "", "1/4/2", "½"])
def test_a_malformed_rank_is_refused(text: str) -> None:
    with pytest.raises(PruningError) as caught:
        LowRankMethod(rank=text)
    assert str(caught.value) == (
        f"rank {text!r}: a rank is a whole number of at least 1, or a fraction of the output channels. "
        "Write it like 16 or 1/4."
    )


def network() -> TrainedNetwork:
    return TrainedNetwork((), load_module(MODEL).state_dict(), {}, {})


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            LowRankMethod("17", 1, ("conv2",)),
            "conv2: rank=17: the 16x144 matrix has a rank of at most 16. Use a rank from 1 to 16.",
        ),
        (
            LowRankMethod("10", 16, ("conv2",)),
            "conv2: rank=10: the 16x9 matrix of each group has a rank of at most 9. Use a rank from 1 to 9.",
        ),
        (
            LowRankMethod("1/4", 5, ("conv2",)),
            "conv2: groups=5 with 16 input channels: groups must divide the input channels. Use one of 1, 2, 4, 8, 16.",
        ),
        (
            LowRankMethod(layers=("linear",)),
            "layer 'linear': must name a convolution of the network. Known: conv1, conv2, conv3, conv4.",
        ),
    ],
)
def test_what_a_layer_cannot_have_is_refused(method: LowRankMethod, message: str) -> None:
    with pytest.raises(PruningError) as caught:
        method.next_round(lambda: load_module(MODEL), network())
    assert str(caught.value) == message


def test_a_quantized_weight_is_factored_as_its_integers_stand_for_it() -> None:
    # Codes are round(w / 0.5) clipped to -7..7, in output channel 1 with the step 0.25; the third weight is masked.
    weight = torch.tensor([[0.6, -9.0, 0.3], [0.3, 0.1, 1.0]]).reshape(2, 3, 1, 1)
    mask = torch.tensor([[1.0, 1, 0], [1, 1, 1]]).reshape(2, 3, 1, 1)
    record = LayerQuantization("symmetric", 4, 4, False, 1.0, (0.5, 0.25))
    trained = TrainedNetwork((), {"conv.weight": weight}, {"conv": mask}, {"conv": record})
    assert trained.effective_weight("conv").flatten().tolist() == [0.5, -3.5, 0.0, 0.25, 0.0, 1.0]
    assert torch.equal(TrainedNetwork((), {"conv.weight": weight}, {}, {}).effective_weight("conv"), weight)


def test_no_groups_are_refused() -> None:
    with pytest.raises(PruningError, match=r"groups=0: at least one group is needed"):
        LowRankMethod(groups=0)


def test_the_first_layer_and_small_kernels_stay_by_default() -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 8, 3))

    change = LowRankMethod("1/4", 2).next_round(build, TrainedNetwork((), build().state_dict(), {}, {}))
    assert change is not None
    assert change.network.structure == ({"rewrite": "low-rank", "layers": {"3": {"rank": 2, "groups": 2}}},)
    assert change.lines[0].startswith("3: rank 2 in 2 groups, 576 -> 176 weights, relative error 0.")


def test_biases_stay_with_the_second_factor() -> None:
    trained = network()
    change = LowRankMethod("32", 1, ("conv3",)).next_round(lambda: load_module(MODEL), trained)
    assert change is not None
    smaller, images = change.network.rebuild(lambda: load_module(MODEL)), torch.randn(3, 1, 8, 8)
    original = trained.rebuild(lambda: load_module(MODEL))
    # Rank 32 is the full rank of conv3: only its form changes.
    assert torch.allclose(smaller(images), original(images), atol=1e-4)
    assert "conv3.reduce.bias" not in change.network.state
