"""The chip as frozen records, one per component.

Inside, time is integer femtoseconds and everything else an SI float64 (joule, watt, square
metre). ``latency_fs`` is from start to result, ``interval_fs`` the least time between two starts
(initiation interval): they are two numbers everywhere. ``full_duty_hz`` (``full_duty_bytes_per_s`` for
memories and buses) is the rate of one unit at which the published full-duty power of the design holds;
only `pimsim.hardware.budget` uses it. Records hold checked values; units, files and defaults are the
business of `pimsim.hardware.loading`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Encoding = str  # one of ENCODINGS
ENCODINGS = ("offset", "offset-inverted", "differential", "twos-complement", "polarised")
DISCIPLINES = ("pipelined", "multiplexed", "serial", "serial-sum")
OVERFLOWS = ("saturate", "rescale")
#: ``fixed``: every conversion takes all bits; ``static``, ``dynamic``: as many as the rows of the layer, or read, need.
RESOLUTIONS = ("fixed", "static", "dynamic")
READ_ENERGIES = ("fixed", "data-dependent")
INDEX_FORMATS = ("bitmap", "list", "delta4", "delta5")
#: When index bytes are read from the index buffer.
INDEX_FETCHES = ("image", "unit-row", "unit")


@dataclass(frozen=True)
class Device:
    """A memory cell for data-dependent read energy: V_read**2 * G * t (`hardware.md` 3.4).

    Conductance levels are linear between 1/r_off and 1/r_on; ``access_resistance_ohm`` is the transistor
    in series with every cell (0: none).
    """

    read_voltage_v: float
    on_resistance_ohm: float
    off_resistance_ohm: float
    read_time_fs: int
    access_resistance_ohm: float = 0.0


@dataclass(frozen=True)
class Crossbar:
    """A memory array: ``rows`` inputs by ``columns`` outputs of ``cell_bits`` each.

    ``active_rows`` x ``active_columns`` is the operation unit: what one read drives and converts
    (the whole array unless the hardware file says otherwise). ``read_energy`` selects ``fixed``
    (``cell_read_energy_j`` per driven row and selected column) or ``data-dependent`` (``device``).
    """

    rows: int
    columns: int
    cell_bits: int
    encoding: Encoding
    read_latency_fs: int
    cell_read_energy_j: float
    cell_area_m2: float
    static_power_w: float
    active_rows: int
    active_columns: int
    program_energy_per_cell_j: float
    program_time_per_row_fs: int
    read_energy: str = "fixed"
    device: Device | None = None
    full_duty_hz: float = 0.0


@dataclass(frozen=True)
class RowDriver:
    """One row driver (DAC) per row; ``bits`` per input step. ``energy_j`` per driven row and step."""

    bits: int
    latency_fs: int
    energy_j: float
    static_power_w: float
    area_m2: float
    full_duty_hz: float = 0.0


@dataclass(frozen=True)
class SampleHold:
    """One sample-and-hold per column; ``depth`` steps can wait for the ADC. ``energy_j`` per sample."""

    depth: int
    latency_fs: int
    energy_j: float
    static_power_w: float
    area_m2: float
    full_duty_hz: float = 0.0


@dataclass(frozen=True)
class Adc:
    """An analog-to-digital converter.

    ``columns`` physical columns share one converter; ``arrays`` arrays take turns on it (1: private).
    ``energy_j`` per conversion at ``bits``. ``scaling`` names the law that rescales energy and area
    when ``bits`` differs from ``reference_bits``; ``overflow`` is what happens above full scale. With ``resolution``
    ``static`` or ``dynamic`` the converter stops after as many of its bits as the driven rows need
    (`pimsim.hardware.laws.resolved_bits`): energy and time of a conversion are in proportion to the bits it resolves.
    """

    bits: int
    latency_fs: int
    interval_fs: int
    energy_j: float
    static_power_w: float
    area_m2: float
    columns: int
    arrays: int
    scaling: str
    reference_bits: int
    overflow: str
    full_duty_hz: float = 0.0
    resolution: str = "fixed"


@dataclass(frozen=True)
class Unit:
    """``count`` identical digital units (shift-add, adder, activation, pooling); ``energy_j`` per operation."""

    count: int
    latency_fs: int
    interval_fs: int
    energy_j: float
    static_power_w: float
    area_m2: float
    full_duty_hz: float = 0.0


@dataclass(frozen=True)
class Register:
    """An input or output register file of ``size_bytes``; ``energy_per_byte_j`` per byte read.

    ``write_energy_per_byte_j`` per byte written; None: the same.
    """

    size_bytes: int
    latency_fs: int
    energy_per_byte_j: float
    static_power_w: float
    area_m2: float
    full_duty_bytes_per_s: float = 0.0
    write_energy_per_byte_j: float | None = None

    @property
    def write_j(self) -> float:
        """Joules of writing one byte."""
        return self.energy_per_byte_j if self.write_energy_per_byte_j is None else self.write_energy_per_byte_j


@dataclass(frozen=True)
class Buffer:
    """An eDRAM or SRAM buffer with one port of ``port_bits``; ``access_energy_j`` per port access."""

    size_bytes: int
    port_bits: int
    latency_fs: int
    interval_fs: int
    access_energy_j: float
    static_power_w: float
    area_m2: float
    full_duty_hz: float = 0.0


@dataclass(frozen=True)
class Bus:
    """The tile bus: ``width_bits`` per transfer of ``interval_fs``; a broadcast counts once."""

    width_bits: int
    latency_fs: int
    interval_fs: int
    energy_per_byte_j: float
    static_power_w: float
    area_m2: float
    full_duty_bytes_per_s: float = 0.0


@dataclass(frozen=True)
class Router:
    """A mesh router shared by ``tiles`` tiles; ``energy_j`` per flit and hop."""

    tiles: int
    flit_bits: int
    latency_fs: int
    interval_fs: int
    energy_j: float
    static_power_w: float
    area_m2: float
    full_duty_hz: float = 0.0


@dataclass(frozen=True)
class OffChip:
    """Off-chip links: constant power (HyperTransport in ISAAC)."""

    count: int
    static_power_w: float
    area_m2: float


@dataclass(frozen=True)
class Macro:
    """An in-situ multiply-accumulate unit (ISAAC's IMA): arrays with their converters and registers."""

    arrays: int
    crossbar: Crossbar
    row_driver: RowDriver
    sample_hold: SampleHold
    adc: Adc
    shift_add: Unit
    input_register: Register
    output_register: Register


@dataclass(frozen=True)
class Tile:
    """Macros around one buffer and bus, with the digital units that finish an output."""

    macros: int
    macro: Macro
    buffer: Buffer
    bus: Bus
    shift_add: Unit
    activation: Unit
    max_pool: Unit
    output_register: Register


@dataclass(frozen=True)
class Index:
    """Row-index storage and decoding for skipped rows (`hardware.md` 3.7).

    Attributes:
        format: one of `INDEX_FORMATS`.
        energy_per_byte_j: to fetch from the index buffer.
        decode_energy_j: per array and step.
        fetch: ``image``: the whole index once an image, into registers beside the arrays; ``unit-row``:
            ``fetch_bytes`` for each row of operation units that an array drives for a window, or for each unit where
            column groups drive rows of their own; ``unit``: for each unit. What is fetched stays for all input steps.
        fetch_bytes: bytes of one fetch; 0 for ``image``.
        fetch_latency_fs: of one fetch.
        decode_latency_fs: of the row selection of one step.
        static_power_w, area_m2: of the index buffer of a tile.
    """

    format: str
    energy_per_byte_j: float
    decode_energy_j: float
    fetch: str = "image"
    fetch_bytes: int = 0
    fetch_latency_fs: int = 0
    decode_latency_fs: int = 0
    static_power_w: float = 0.0
    area_m2: float = 0.0


@dataclass(frozen=True)
class Timing:
    """How stages overlap (`hardware.md` 4.3).

    ``discipline`` is one of `DISCIPLINES`; ``stage_fs`` is the least latency of any stage (100 ns in
    ISAAC's synchronous pipeline, 0 for none); ``input_slots`` windows fit the input register (2: double-buffered).
    """

    discipline: str
    stage_fs: int
    input_slots: int
    output_slots: int


@dataclass(frozen=True)
class Chip:
    """A whole accelerator; ``weight_bits`` and ``activation_bits`` are its design precision.

    ``sources`` maps dotted paths to the source written beside each number; ``notes`` says what is
    approximate. ``leakage_share`` is the part of full-duty power taken as static where a component does
    not give its own; the records hold the energies and powers after that split.
    """

    name: str
    technology_m: float
    weight_bits: int
    activation_bits: int
    tiles: int
    tile: Tile
    router: Router
    off_chip: OffChip
    index: Index
    timing: Timing
    sources: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)
    leakage_share: float = 0.0

    @property
    def macro(self) -> Macro:
        """The macro that every tile repeats."""
        return self.tile.macro

    @property
    def crossbar(self) -> Crossbar:
        """The array that every macro repeats."""
        return self.macro.crossbar

    @property
    def arrays(self) -> int:
        """Crossbar arrays on the chip."""
        return self.tiles * self.tile.macros * self.macro.arrays
