"""The traps of the crossbar model, each with numbers small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polarised_weights import held

from pimsim.errors import NetworkError, QuantizationError, SimulationError
from pimsim.functional.conversion import Conversion, divide_half_even
from pimsim.functional.crossbar import CrossbarLayer, CrossbarMultiplier, ReadOut
from pimsim.functional.observations import compare
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.records import ENCODINGS, Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision

DRIVER = RowDriver(1, 0, 0.0, 0.0, 0.0)


def crossbar(rows: int, columns: int, cell_bits: int, encoding: str, active_rows: int | None = None) -> Crossbar:
    return Crossbar(rows, columns, cell_bits, encoding, 0, 0.0, 0.0, 0.0, active_rows or rows, columns, 0.0, 0)


def rows_of_a_sign(encoding: str, rows: int) -> int:
    """Rows of an operation unit in which any weights can stand: one where its weights share a sign."""
    return 1 if encoding == "polarised" else rows


def adc(bits: int, overflow: str = "saturate") -> Adc:
    return Adc(bits, 0, 0, 0.0, 0.0, 0.0, 1, 1, "isaac", 8, overflow)


def placed(layer: Layer, array: Crossbar, method: str = "im2col", skip: str = "none") -> Placement:
    assert layer.weight is not None
    q = columns_per_weight(array.encoding, layer.precision.weight_bits, array.cell_bits)
    mapping = map_layer(layer.geometry, ArrayShape(array.rows, array.columns, q), method)
    return place(mapping, layer.weight, skip)


def linear(weight: list[list[int]], precision: Precision) -> Layer:
    values = np.array(weight, dtype=np.int64)
    return Layer(Geometry("fc", values.shape[1], values.shape[0]), precision, values[:, :, None, None])


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64).reshape(1, -1, 1, 1)


@pytest.mark.parametrize("engine", ["plain", "packed"])
@pytest.mark.parametrize("exact", ["auto", "bit-serial"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_skipped_rows_do_not_enter_the_offset_correction(encoding: str, exact: str, engine: str) -> None:
    """Rows 1 and 2 have zero weights and are absent; their large inputs must not be subtracted."""
    layer = linear([[3, 0, 0, -2], [-1, 0, 0, 1]], Precision(3, 4))
    array = crossbar(8, 16, 1, encoding, rows_of_a_sign(encoding, 8))
    placement = placed(layer, array, skip="row")
    assert placement.rows_skipped == 2
    model = CrossbarLayer(layer, placement, ReadOut(array, DRIVER, adc(8), exact, engine))
    outputs, _ = model.multiply(column([5, 15, 15, 7]))
    assert outputs.reshape(-1).tolist() == [3 * 5 - 2 * 7, -5 + 7]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_idle_cells_hold_the_code_of_zero(encoding: str) -> None:
    """Under the offset encodings the shifted kernels of SDK leave cells of code 2**(w - 1), not 0."""
    weight = np.array([1, -2, 3], dtype=np.int64).reshape(1, 1, 1, 3)
    layer = Layer(Geometry("conv", 1, 1, (1, 3), (1, 6)), Precision(3, 2), weight)
    array = crossbar(6, 24, 3, encoding, rows_of_a_sign(encoding, 6))
    placement = placed(layer, array, "vw-sdk")
    assert placement.mapping.outputs[1] > 1
    model = CrossbarLayer(layer, placement, ReadOut(array, DRIVER, adc(8), "bit-serial"))
    (programmed,) = model.programmed
    idle = ~placement.mapping.taps(placement.tiles[0])[2]
    assert idle.any()
    assert (programmed.weights[idle] == 0).all()
    if encoding == "offset":
        assert (programmed.cells[:, 0][idle] == 4).all()
    inputs = np.array([[[[1, 2, 3, 0, 1, 2]]]])
    assert model.multiply(inputs)[0].tolist() == [[[[1 - 4 + 9, 2 - 6 + 0, 3 + 3, -2 + 6]]]]


@pytest.mark.parametrize("dac_bits", [1, 2, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_last_step_of_signed_inputs_subtracts(encoding: str, dac_bits: int) -> None:
    layer = linear([[2, -3]], Precision(3, 4, activation_signed=True))
    array = crossbar(4, 16, 1, encoding, rows_of_a_sign(encoding, 4))
    driver = RowDriver(dac_bits, 0, 0.0, 0.0, 0.0)
    model = CrossbarLayer(layer, placed(layer, array), ReadOut(array, driver, adc(8), "bit-serial"))
    for a, b in ((-8, 7), (-1, -8), (7, 7), (0, -1)):
        assert model.multiply(column([a, b]))[0].item() == 2 * a - 3 * b


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", ["im2col", "sdk", "vw-sdk"])
def test_padding_reads_integer_zero(encoding: str, method: str) -> None:
    """All weights 1 over all inputs 1: a corner sees 4 pixels, an edge 6, the middle 9."""
    layer = Layer(
        Geometry("conv", 1, 1, (3, 3), (4, 4), padding=(1, 1, 1, 1)), Precision(2, 1), np.ones((1, 1, 3, 3), np.int64)
    )
    array = crossbar(32, 32, 1, encoding)
    model = CrossbarLayer(layer, placed(layer, array, method), ReadOut(array, DRIVER, adc(8), "bit-serial"))
    wanted = [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]
    assert model.multiply(np.ones((1, 1, 4, 4), np.int64))[0][0, 0].tolist() == wanted


def test_saturating_adc_clips_each_conversion() -> None:
    """Unsigned differential, one cell a weight: 5 rows of weight 1 sum to 5, a 2-bit ADC says 3."""
    layer = linear([[1, 1, 1, 1, 1]], Precision(2, 2))
    array = crossbar(5, 4, 2, "differential")
    model = CrossbarLayer(layer, placed(layer, array), ReadOut(array, DRIVER, adc(2), engine="packed"))
    outputs, seen = model.multiply(column([1, 1, 1, 3, 3]))
    # Step 0 drives five rows (clipped to 3), step 1 two rows: 3 + 2 * 2.
    assert outputs.item() == 7
    assert (seen.clipped, seen.largest_sum, seen.conversions, seen.path) == (1, 5, 4, "bit-serial")


def test_rescaling_adc_rounds_half_to_even() -> None:
    """Full scale 6, 2 bits: one code is 2. Sums 1, 3, 5 are halves and go to codes 0, 2, 2."""
    conversion = Conversion(limit=3, full_scale=6, stretched=True)
    assert conversion.codes(np.arange(7)).tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert conversion.values(np.array([0, 1, 2, 3])).tolist() == [0, 2, 4, 6]
    layer = linear([[1, 1, 1, 1, 1, 1]], Precision(2, 1))
    array = crossbar(6, 4, 1, "differential")
    model = CrossbarLayer(layer, placed(layer, array), ReadOut(array, DRIVER, adc(2, "rescale"), engine="packed"))
    answers = [model.multiply(column([1] * n + [0] * (6 - n)))[0].item() for n in range(7)]
    assert answers == [0, 0, 2, 4, 4, 4, 6]


@given(st.integers(-(10**9), 10**9), st.integers(1, 1000))
def test_divide_half_even_is_pythons_rounding(numerator: int, denominator: int) -> None:
    from fractions import Fraction

    assert divide_half_even(np.array([numerator]), denominator)[0] == round(Fraction(numerator, denominator))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), encoding=st.sampled_from(ENCODINGS), adc_bits=st.integers(3, 9))
def test_large_arrays_agree_partly_collapsed(seed: int, encoding: str, adc_bits: int) -> None:
    """Several words a group, several blocks of windows, columns light and heavy: all paths give one answer."""
    rng = np.random.default_rng(seed)
    geometry = Geometry("conv", 20, 6, (3, 3), (18, 18), padding=(1, 1, 1, 1))
    weight = rng.integers(-8, 8, geometry.weight_shape) * (rng.random((6, 1, 1, 1)) < 0.5)
    layer = Layer(geometry, Precision(4, 3), held(weight, encoding, 4))
    array = crossbar(150, 64, 2, encoding, active_rows=int(rng.choice([33, 64, 100, 150])))
    placement = placed(layer, array, str(rng.choice(["im2col", "vw-sdk"])))
    inputs = rng.integers(0, 8, (3, 20, 18, 18))
    models = {
        (exact, engine): CrossbarLayer(layer, placement, ReadOut(array, DRIVER, adc(adc_bits), exact, engine))
        for exact in ("auto", "bit-serial")
        for engine in ("plain", "packed")
    }
    outputs = {key: model.multiply(inputs) for key, model in models.items()}
    wanted, seen = outputs["bit-serial", "plain"]
    for key, (values, counts) in outputs.items():
        np.testing.assert_array_equal(values, wanted, err_msg=str(key))
        assert (counts.clipped, counts.conversions) == (seen.clipped, seen.conversions)
    if seen.clipped == 0:
        assert compare(reference_convolution(layer, inputs), wanted).exact


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 4), (12, 14), (28, 28)])
@pytest.mark.parametrize("method", ["im2col", "vw-sdk"])
def test_collapse_is_exact_in_every_number_type(method: str, weight_bits: int, activation_bits: int) -> None:
    """float32, float64 and int64 products, compiled and in numpy (where numba does not work)."""
    rng = np.random.default_rng(3)
    geometry = Geometry("conv", 4, 5, (3, 3), (9, 11), (1, 1), (1, 1, 1, 1))
    half = 2 ** (weight_bits - 1)
    layer = Layer(
        geometry, Precision(weight_bits, activation_bits), rng.integers(half // 2, half, geometry.weight_shape)
    )
    array = crossbar(60, 256, 4, "offset")
    model = CrossbarLayer(layer, placed(layer, array, method), ReadOut(array, DRIVER, adc(10)))
    inputs = rng.integers(2 ** (activation_bits - 1), 2**activation_bits, (3, 4, 9, 11))
    wanted = reference_convolution(layer, inputs)
    np.testing.assert_array_equal(model.multiply(inputs)[0], wanted)
    plain = np.zeros((3, wanted[0].size), dtype=np.int64)
    for product in model.products:
        product.add_plainly(model.placement.mapping.pad_input(inputs).astype(np.int32), plain)
    np.testing.assert_array_equal(plain.reshape(wanted.shape), wanted)


def test_columns_are_split_by_their_own_cells() -> None:
    """Differential: the column of 1s can reach 4, the empty one cannot; a 2-bit ADC collapses only the second."""
    layer = linear([[1, 1, 1, 1], [0, 0, 0, 1]], Precision(2, 1))
    array = crossbar(4, 8, 2, "differential")
    model = CrossbarLayer(layer, placed(layer, array), ReadOut(array, DRIVER, adc(2)))
    outputs, seen = model.multiply(column([1, 1, 1, 1]))
    assert outputs.reshape(-1).tolist() == [3, 1]
    assert (seen.path, seen.collapsed_columns, seen.serial_columns, seen.clipped) == ("mixed", 1, 1, 1)


def test_pruned_to_nothing_gives_zeros_without_conversions() -> None:
    layer = linear([[0, 0]], Precision(2, 2))
    array = crossbar(4, 8, 1, "offset")
    model = CrossbarLayer(layer, placed(layer, array, skip="row"), ReadOut(array, DRIVER, adc(1)))
    outputs, seen = model.multiply(column([3, 3]))
    assert outputs.item() == 0
    assert seen.conversions == 0


def test_multiplier_accumulates_observations() -> None:
    """The door that `Program.run` uses: torch in, torch out, counts by layer name."""
    import torch

    layer = linear([[1, -1]], Precision(2, 2))
    array = crossbar(4, 8, 1, "offset-inverted")
    multiply = CrossbarMultiplier({"fc": placed(layer, array)}, ReadOut(array, DRIVER, adc(8), "bit-serial"))
    for count in (1, 2):
        outputs = multiply(layer, torch.tensor([[3, 1]] * count, dtype=torch.int32).reshape(count, 2, 1, 1))
        assert outputs.dtype == torch.int64
        assert outputs.reshape(-1).tolist() == [2] * count
    assert multiply.observations["fc"].images == 3
    assert multiply.observations["fc"].conversions == 3 * 2 * 2


def test_compare_reports_errors() -> None:
    found = compare(np.array([3, 4, 0]), np.array([3, 4, 5]))
    assert (found.outputs, found.mismatches, found.largest_error, found.exact) == (3, 1, 5, False)
    assert found.snr_db == pytest.approx(0.0)
    assert compare(np.array([10, 0]), np.array([10, 1])).snr_db == pytest.approx(20.0)
    assert compare(np.array([1]), np.array([1])).snr_db == float("inf")


def test_bad_requests_are_refused() -> None:
    layer = linear([[1, -1]], Precision(2, 2))
    array = crossbar(4, 8, 1, "offset")
    placement, read_out = placed(layer, array), ReadOut(array, DRIVER, adc(8))
    model = CrossbarLayer(layer, placement, read_out)
    with pytest.raises(QuantizationError, match=r"fc: inputs from 0 to 4: 2 unsigned bits hold 0 to 3\. Quantize"):
        model.multiply(column([0, 4]))
    with pytest.raises(NetworkError, match=r"fc: inputs of shape \(1, 3, 1, 1\): the layer needs \(N, 2, 1, 1\)\."):
        model.multiply(column([0, 1, 1]))
    with pytest.raises(SimulationError, match=r"exact 'fast': unknown way to compute\. Did you mean 'auto'\? Known"):
        ReadOut(array, DRIVER, adc(8), "fast")
    with pytest.raises(SimulationError, match=r"engine 'pack': unknown bit-serial engine\. Did you mean 'packed'\?"):
        ReadOut(array, DRIVER, adc(8), engine="pack")
    with pytest.raises(SimulationError, match="the crossbar has 4 rows and a weight takes 4 of its columns"):
        CrossbarLayer(layer, placement, ReadOut(crossbar(4, 8, 1, "differential"), DRIVER, adc(8)))
    with pytest.raises(NetworkError, match=r"fc: a layer without weights: it can be timed but not run\."):
        CrossbarLayer(Layer(layer.geometry, layer.precision), placement, read_out)
