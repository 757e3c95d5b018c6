"""The packed engine where small layers do not reach: many columns, blocks, types and images, and no numba."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polarised_weights import held

from pimsim.errors import SimulationError
from pimsim.functional import collapse, crossbar, packed, parts
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.packed import best_chunk
from pimsim.functional.reference import reference_convolution
from pimsim.functional.scratch import BLOCK, LANES, MOST_WINDOWS, aligned
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.records import ENCODINGS, Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision


@dataclass(frozen=True)
class Chip:
    """An array and its converters, by what these tests vary."""

    rows: int = 60
    columns: int = 256
    active_rows: int = 60
    cell_bits: int = 2
    dac_bits: int = 1
    adc_bits: int = 5
    encoding: str = "offset-inverted"
    overflow: str = "saturate"

    def read_out(self, exact: str = "bit-serial", engine: str = "packed") -> ReadOut:
        array = Crossbar(
            self.rows, self.columns, self.cell_bits, self.encoding, 0, 0.0, 0.0, 0.0, self.active_rows, 1, 0.0, 0
        )
        adc = Adc(self.adc_bits, 0, 0, 0.0, 0.0, 0.0, 1, 1, "isaac", 8, self.overflow)
        return ReadOut(array, RowDriver(self.dac_bits, 0, 0.0, 0.0, 0.0), adc, exact, engine)

    def layers(self, layer: Layer, method: str = "im2col", skip: str = "row") -> tuple[CrossbarLayer, CrossbarLayer]:
        """The layer on this chip, packed and plain."""
        q = columns_per_weight(self.encoding, layer.precision.weight_bits, self.cell_bits)
        mapping = map_layer(layer.geometry, ArrayShape(self.rows, self.columns, q), method)
        placement = place(mapping, layer.weight, skip)
        return CrossbarLayer(layer, placement, self.read_out()), CrossbarLayer(
            layer, placement, self.read_out(engine="plain")
        )


def random_layer(geometry: Geometry, precision: Precision, seed: int = 0, density: float = 0.7) -> Layer:
    rng = np.random.default_rng(seed)
    half = 2 ** (precision.weight_bits - 1)
    weight = rng.integers(-half, half, geometry.weight_shape) * (rng.random(geometry.weight_shape) < density)
    return Layer(geometry, precision, weight)


def random_inputs(layer: Layer, images: int, seed: int = 1) -> np.ndarray:
    bits, signed = layer.precision.activation_bits, layer.precision.activation_signed
    low = -(2 ** (bits - 1)) if signed else 0
    shape = (images, layer.geometry.in_channels, *layer.geometry.input_size)
    return np.random.default_rng(seed).integers(low, low + 2**bits, shape)


def assert_equal(chip: Chip, layer: Layer, inputs: np.ndarray, method: str = "im2col") -> None:
    """Packed and plain agree in every value and every count."""
    fast, slow = chip.layers(layer, method)
    values, seen = fast.multiply(inputs)
    wanted, expected = slow.multiply(inputs)
    np.testing.assert_array_equal(values, wanted)
    assert seen == expected


WIDE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@WIDE
@given(data=st.data())
def test_packed_equals_plain_on_wide_arrays(data: st.DataObject) -> None:
    """More columns than a line, more rows than a chunk, operation units, drivers and ADCs of several bits."""
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 2]))
    geometry = Geometry(
        "conv",
        groups * draw(st.integers(1, 9)),
        groups * draw(st.integers(1, 40)),
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(st.integers(3, 9), st.integers(3, 9))),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        draw(st.tuples(*[st.integers(0, 2)] * 4)),
        groups=groups,
    )
    precision = Precision(draw(st.integers(2, 8)), draw(st.integers(1, 9)), draw(st.booleans()))
    chip = Chip(
        active_rows=draw(st.sampled_from([1, 5, 8, 17, 60])),
        cell_bits=draw(st.integers(1, 4)),
        dac_bits=draw(st.integers(1, 4)),
        adc_bits=draw(st.integers(1, 10)),
        encoding=draw(st.sampled_from(ENCODINGS)),
        overflow=draw(st.sampled_from(["saturate", "rescale"])),
    )
    layer = random_layer(geometry, precision, draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.1, 0.6, 1.0])))
    layer = replace(layer, weight=held(layer.weight, chip.encoding, precision.weight_bits))
    inputs = random_inputs(layer, draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1)))
    inputs = inputs * (np.random.default_rng(0).random(inputs.shape) < draw(st.sampled_from([0.05, 1.0])))
    assert_equal(chip, layer, inputs, draw(st.sampled_from(["im2col", "vw-sdk"])))


@pytest.mark.parametrize("overflow", ["saturate", "rescale"])
@pytest.mark.parametrize(("cell_bits", "dac_bits", "adc_bits"), [(8, 8, 6), (8, 8, 16), (6, 4, 12), (12, 12, 8)])
def test_wide_sums(cell_bits: int, dac_bits: int, adc_bits: int, overflow: str) -> None:
    """Column sums of 8, 16 and 64 bits, and codes that are narrower than they."""
    chip = Chip(cell_bits=cell_bits, dac_bits=dac_bits, adc_bits=adc_bits, encoding="offset", overflow=overflow)
    layer = random_layer(Geometry("conv", 4, 3, (3, 3), (6, 6)), Precision(12, 12))
    assert_equal(chip, layer, random_inputs(layer, 2))


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_more_windows_than_a_block(stride: tuple[int, int]) -> None:
    """Images and blocks end in the middle of each other."""
    geometry = Geometry("conv", 2, 3, (2, 2), (61, 47), stride, (1, 1, 0, 1))
    layer = random_layer(geometry, Precision(4, 2))
    images = 2 if stride == (1, 1) else 9
    assert images * np.prod(geometry.output_size) > 2 * MOST_WINDOWS
    assert np.prod(geometry.output_size) % BLOCK
    assert_equal(Chip(rows=8, adc_bits=3, active_rows=8), layer, random_inputs(layer, images))


@pytest.mark.parametrize("exact", ["auto", "bit-serial"])
def test_images_stream_in_pieces(monkeypatch: pytest.MonkeyPatch, exact: str) -> None:
    """One image at a time gives what all at once give."""
    layer = random_layer(Geometry("conv", 3, 5, (3, 3), (7, 7)), Precision(8, 8))
    inputs = random_inputs(layer, 5)
    (model, _), chip = Chip().layers(layer), Chip()
    model = CrossbarLayer(layer, model.placement, chip.read_out(exact))
    at_once = model.multiply(inputs)
    monkeypatch.setattr(crossbar, "PADDED_BYTES", 1)
    pieces = model.multiply(inputs)
    np.testing.assert_array_equal(at_once[0], pieces[0])
    assert at_once[1] == pieces[1]


def traced_bytes(model: CrossbarLayer, inputs: np.ndarray) -> int:
    """Peak memory of a batch beyond its outputs; numpy reports its arrays to tracemalloc."""
    tracemalloc.start()
    try:
        outputs, _ = model.multiply(inputs)
        return tracemalloc.get_traced_memory()[1] - outputs.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("exact", ["auto", "bit-serial"])
def test_working_memory_does_not_grow_with_the_images(monkeypatch: pytest.MonkeyPatch, exact: str) -> None:
    """Beyond inputs and outputs: pieces of padded inputs and blocks of windows, whatever the images."""
    monkeypatch.setattr(crossbar, "PADDED_BYTES", 2**16)
    layer = random_layer(Geometry("conv", 16, 16, (3, 3), (32, 32), (1, 1), (1, 1, 1, 1)), Precision(8, 8))
    chip = Chip(rows=128, active_rows=128, columns=128, adc_bits=9)
    model = CrossbarLayer(layer, chip.layers(layer)[0].placement, chip.read_out(exact))
    few, many = (random_inputs(layer, images).astype(np.int32) for images in (8, 64))
    model.multiply(few)
    least = traced_bytes(model, few)
    assert least > 2**18  # the blocks are seen at all
    # 56 more images hold 3.7 MB of inputs, 7.3 MB of outputs and 8.3 MB of windows in bytes.
    assert traced_bytes(model, many) < least + 2**20


def test_all_zero_inputs_need_no_reads() -> None:
    """Sums of nothing are zero, and so are codes; the offset correction of no input too."""
    layer = random_layer(Geometry("conv", 3, 5, (3, 3), (7, 7)), Precision(8, 8))
    model, _ = Chip().layers(layer)
    values, seen = model.multiply(np.zeros((2, 3, 7, 7), dtype=np.int64))
    assert not values.any()
    assert (seen.clipped, seen.largest_sum) == (0, 0)
    assert seen.conversions == 2 * model.conversions


@pytest.mark.parametrize(
    ("rows", "reads", "chunk"),
    [(128, 16384, 8), (128, 64, 5), (128, 1, 2), (4, 10**6, 4), (1000, 10**6, 4), (1, 1, 1)],
)
def test_chunks_balance_building_and_reading(rows: int, reads: int, chunk: int) -> None:
    """Long where a table is read often, unless it leaves the cache; never longer than the group."""
    assert best_chunk(rows, reads, 1) == chunk


def test_tables_begin_with_a_line_of_the_cache() -> None:
    for count in range(1, 9):
        array = aligned((count, LANES), np.dtype(np.uint8))
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous


@pytest.mark.parametrize("cores", [1, 2, 3, 7])
def test_shares_cover_everything_in_order(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(parts, "cores", lambda: cores)
    for count in (1, 2, 5, 100):
        shares = parts.over_cores(lambda first, last: list(range(first, last)), count)
        assert [thing for share in shares for thing in share] == list(range(count))
        assert len(shares) == min(cores, count)
        assert all(shares)


def test_a_failure_on_another_core_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "cores", lambda: 2)

    def work(first: int, last: int) -> int:
        return 1 // (1 - first)

    with pytest.raises(ZeroDivisionError):
        parts.over_cores(work, 2)


def test_pieces_are_at_least_one_long() -> None:
    assert [(p.start, p.stop) for p in parts.pieces(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert [(p.start, p.stop) for p in parts.pieces(2, 0)] == [(0, 1), (1, 2)]
    assert not list(parts.pieces(0, 3))


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> str:
    """As on a machine without a working numba; the reason."""
    reason = "numba does not work here (ImportError: no numba)"
    monkeypatch.setattr(packed, "why_not", lambda: reason)
    uncached = packed.compiled_kernels.__wrapped__
    for module in (packed, collapse, crossbar):
        monkeypatch.setattr(module, "compiled_kernels", uncached)
    return reason


def test_plain_numpy_stands_in_without_numba(no_numba: str) -> None:
    layer = random_layer(Geometry("conv", 3, 5, (3, 3), (7, 7)), Precision(8, 8))
    inputs, chip = random_inputs(layer, 2), Chip(adc_bits=8)
    placement = chip.layers(layer)[0].placement
    for exact in ("auto", "bit-serial"):
        read_out = chip.read_out(exact, "auto")
        assert read_out.engine_used == "plain"
        values, _ = CrossbarLayer(layer, placement, read_out).multiply(inputs)
        np.testing.assert_array_equal(values, reference_convolution(layer, inputs))


def test_the_packed_engine_says_why_it_cannot(no_numba: str) -> None:
    layer = random_layer(Geometry("conv", 3, 5, (3, 3), (7, 7)), Precision(8, 8))
    model, _ = Chip().layers(layer)
    with pytest.raises(SimulationError) as caught:
        model.multiply(random_inputs(layer, 1))
    assert str(caught.value) == f"engine 'packed': {no_numba}. Install a working numba, or use engine 'plain'."
