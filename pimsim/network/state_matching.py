"""A checkpoint's keys fitted to a network's: prefixes, prune pairs, and what does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from pimsim.errors import CheckpointError
from pimsim.network.checkpoints import State, merge_prune_pairs

# DataParallel, Lightning, torch.compile and hand-made wrappers put these before every key.
PREFIXES = ("module.", "model.", "_orig_mod.", "net.")
# How many keys of each kind an error lists.
_LISTED = 6


@dataclass(frozen=True)
class Mismatch:
    """What separates a state dict from a network: keys, each with its nearest name where there is one."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of keys that do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.misshaped)


@dataclass(frozen=True, eq=False)
class FittedState:
    """A state dict that fits a network exactly, and the prune masks by parameter name."""

    state: State
    masks: State


def match(state: Mapping[str, Tensor], module: nn.Module, where: str | None = None) -> FittedState:
    """The state dict under the network's own keys; nothing is stripped unless that makes it fit better.

    Prune pairs are merged unless the network itself is reparametrized by ``torch.nn.utils.prune``.
    Missing ``num_batches_tracked`` counters are taken from the network: they do not change its output.

    Raises:
        CheckpointError: a key is missing, unexpected or has another shape; all are counted, the first listed.
    """
    expected = module.state_dict()
    candidates = [FittedState(*pair) for pair in _candidates(state)]
    # min() keeps the first of equals, and the candidates start with the least changed one.
    best = min(candidates, key=lambda fitted: compare(fitted.state, expected).count)
    mismatch = compare(best.state, expected)
    if mismatch.count:
        raise CheckpointError(
            f"a checkpoint that does not fit {type(module).__name__} ({_describe(mismatch)})",
            "its keys and shapes must be those of the network",
            where,
            "Check that the network and its options are those that the checkpoint was trained with",
        )
    counters = {key: value for key, value in expected.items() if key not in best.state}
    return FittedState({**counters, **best.state}, best.masks)


def compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mismatch:
    """The keys of ``expected`` that ``state`` lacks, the others, and those of another shape."""
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    misshaped = [
        f"{key} is {_shape(state[key])}, the network has {_shape(expected[key])}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    return Mismatch(
        tuple(_with_nearest(key, unexpected) for key in missing),
        tuple(_with_nearest(key, missing) for key in unexpected),
        tuple(misshaped),
    )


def _candidates(state: Mapping[str, Tensor]) -> Iterator[tuple[State, State]]:
    """The state dict as it is and with prefixes stripped, each with prune pairs kept and merged."""
    for stripped in _stripped(dict(state), set()):
        yield stripped, {}
        merged, masks = merge_prune_pairs(stripped)
        if masks:
            yield merged, masks


def _stripped(state: State, seen: set[frozenset[str]]) -> Iterator[State]:
    keys = frozenset(state)
    if keys in seen:
        return
    seen.add(keys)
    yield state
    for prefix in PREFIXES:
        shorter = {key.removeprefix(prefix): value for key, value in state.items()}
        # Equal lengths: no two keys became one.
        if len(shorter) == len(state):
            yield from _stripped(shorter, seen)


def _with_nearest(key: str, others: list[str]) -> str:
    close = difflib.get_close_matches(key, others, n=1, cutoff=0.6)
    return f"{key} (nearest: {close[0]})" if close else key


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"


def _describe(mismatch: Mismatch) -> str:
    kinds = (("missing", mismatch.missing), ("unexpected", mismatch.unexpected), ("wrong shape", mismatch.misshaped))
    return "; ".join(f"{len(keys)} {kind}: {_shortened(keys)}" for kind, keys in kinds if keys)


def _shortened(keys: tuple[str, ...]) -> str:
    more = len(keys) - _LISTED
    return ", ".join(keys[:_LISTED]) + (f" and {more} more" if more > 0 else "")
