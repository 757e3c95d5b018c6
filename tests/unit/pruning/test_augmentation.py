"""Random crops and flips against a slow crop of one image at a time."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pimsim.pruning.augmentation import crop_and_flip, pad_border


def images(count: int, height: int, width: int) -> Tensor:
    return torch.arange(1, 1 + count * 2 * height * width).reshape(count, 2, height, width).to(torch.int32)


def all_crops(padded: Tensor, height: int, width: int, flip: bool) -> list[Tensor]:
    crops = [
        padded[:, top : top + height, left : left + width]
        for top in range(padded.shape[1] - height + 1)
        for left in range(padded.shape[2] - width + 1)
    ]
    return crops + [crop.flip(2) for crop in crops if flip]


@settings(deadline=None)
@given(st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_each_result_is_a_crop_of_its_own_image(padding: int, flip: bool, seed: int) -> None:
    padded = pad_border(images(3, 4, 5), padding)
    chosen = torch.tensor([2, 0])
    result = crop_and_flip(padded, chosen, padding, flip, torch.Generator().manual_seed(seed))
    assert result.shape == (2, 2, 4, 5)
    for crop, index in zip(result, chosen, strict=True):
        assert any(torch.equal(crop, other) for other in all_crops(padded[index], 4, 5, flip))


def test_every_crop_and_flip_turns_up() -> None:
    padded = pad_border(images(1, 2, 2), 1)
    result = crop_and_flip(padded, torch.zeros(500, dtype=torch.int64), 1, True, torch.Generator().manual_seed(0))
    assert len({tuple(crop.flatten().tolist()) for crop in result}) == 9 * 2


def test_the_generator_alone_decides() -> None:
    padded = pad_border(images(4, 6, 6), 2)
    first, again, other = (
        crop_and_flip(padded, torch.arange(4), 2, True, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_padding_and_flip_nothing_changes() -> None:
    whole = images(3, 4, 4)
    assert torch.equal(crop_and_flip(whole, torch.arange(3), 0, False, torch.Generator()), whole)
