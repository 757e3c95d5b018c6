"""PRAP-PIM written slowly, pattern by pattern in whole numbers and fractions: the witness of the vectorised one."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np


def scale(numerator: int, denominator: int) -> Fraction:
    """ceil(2^8 2^round(log2 n/d)) / 2^8, by comparing squares: the exponent k with 2^(2k-1) < (n/d)^2 < 2^(2k+1)."""
    square, exponent = Fraction(numerator, denominator) ** 2, 0
    while square > Fraction(2) ** (2 * exponent + 1):
        exponent += 1
    while square < Fraction(2) ** (2 * exponent - 1):
        exponent -= 1
    return max(Fraction(2) ** exponent, Fraction(1, 256))


def entries(shape: tuple[int, ...], group: int, number: int) -> list[tuple[int, ...]]:
    """Indices behind the output channel of one channel group, channel by channel."""
    return [
        (channel, *place) for channel in range(number * group, (number + 1) * group) for place in np.ndindex(*shape[2:])
    ]


def shapes(weight: np.ndarray, kept: int, limit: int = 8) -> np.ndarray:
    """Shape pruning of (OC, IC, K, K)."""
    group, positions = 8 // kept, weight.shape[2] * weight.shape[3]
    mask = np.ones(weight.shape, dtype=bool)
    for number in range(weight.shape[1] // group):
        block = np.abs(weight[:, number * group : (number + 1) * group]).reshape(len(weight), group, positions)
        sums = block.sum(axis=1)
        natural = [frozenset(sorted(range(positions), key=lambda i: -s[i])[:kept]) for s in sums]
        counts = Counter(natural)

        def rank(shape: frozenset[int], counts: Counter[Any] = counts) -> tuple[int, int]:
            gone = set(range(positions)) - shape
            return -counts[shape], sum(1 << i for i in (shape if 2 * kept <= positions else gone))

        retained = sorted(counts, key=rank)[:limit]
        for output, s in enumerate(sums):
            best = max(retained, key=lambda shape: sum(s[i] for i in sorted(shape)))
            for channel in range(number * group, (number + 1) * group):
                for i in range(positions):
                    mask[output, channel, i // weight.shape[3], i % weight.shape[3]] = i in best
    return mask


def similar(codes: np.ndarray, mask: np.ndarray, keep: Fraction, group: int) -> dict[tuple[int, int], tuple[int, Any]]:
    """(group, output) to (source, scale) of similarity-based reuse, of weights in steps of max / (127 256)."""
    found: dict[tuple[int, int], tuple[int, Any]] = {}
    for number in range(codes.shape[1] // group):
        places = entries(codes.shape, group, number)
        x = [[int(codes[(o, *p)]) for p in places] for o in range(len(codes))]
        m = [[int(mask[(o, *p)]) for p in places] for o in range(len(codes))]
        own = [sum(abs(a * b) for a, b in zip(x[o], m[o], strict=True)) for o in range(len(codes))]
        order = sorted(range(len(codes)), key=lambda o: -own[o])
        kept: list[tuple[int, list[int]]] = []
        for o in order[: int(len(codes) * keep)]:
            rounded = [256 * round(Fraction(a * b, 256)) for a, b in zip(x[o], m[o], strict=True)]
            if not any(rounded):
                break
            kept.append((o, rounded))
        for o, _ in kept:
            found[number, o] = (o, 1)
        for o in order[len(kept) :]:
            candidates: list[tuple[Any, int, Any]] = []
            for source, y in kept:
                seen = [a * b for a, b in zip(x[o], m[source], strict=True)]
                size = sum(map(abs, seen))
                if size == 0:
                    candidates.append((0, -1, 0))
                    continue
                s = scale(size, sum(map(abs, y)))
                candidates.append((sum(abs(s * b - a) for a, b in zip(seen, y, strict=True)), source, s))
            candidates.append((own[o], -1, 0))
            found[number, o] = min(candidates, key=lambda c: c[0])[1:]
    return found


def identical(codes: np.ndarray, threshold: Fraction, group: int) -> dict[tuple[int, int], int]:
    """(group, output) to source of identical reuse, of 8-bit codes."""
    found: dict[tuple[int, int], int] = {}
    for number in range(codes.shape[1] // group):
        places = entries(codes.shape, group, number)
        x = [[int(codes[(o, *p)]) for p in places] for o in range(len(codes))]
        norms = [sum(map(abs, row)) for row in x]
        order = sorted(range(len(codes)), key=lambda o: -norms[o])
        limit = norms[order[int(len(codes) * threshold)]]
        kept = [order[0]]
        found[number, order[0]] = order[0]
        for o in order[1:]:
            distances = [(sum(abs(a - b) for a, b in zip(x[o], x[k], strict=True)), k) for k in kept]
            distances.append((norms[o], -1))
            distance, source = min(distances, key=lambda d: d[0])
            if distance <= limit:
                found[number, o] = source
            else:
                kept.append(o)
                found[number, o] = o
    return found
