"""How the outputs of the arrays compare with the integer reference: the witness of a run."""

from __future__ import annotations

from dataclasses import dataclass


def _rule(valid: bool, rule: str) -> None:
    if not valid:
        raise ValueError(rule)


@dataclass(frozen=True)
class LayerCheck:
    """The comparison for one layer.

    Attributes:
        layer: name of the layer.
        outputs, mismatches: integer outputs compared over all images, and those that differ.
        conversions_checked, clipped_conversions: ADC conversions looked at, and those above full scale.
        snr_db: 10 log10(sum of squared reference outputs / sum of squared differences); None when exact.
    """

    layer: str
    outputs: int
    mismatches: int
    conversions_checked: int = 0
    clipped_conversions: int = 0
    snr_db: float | None = None

    def __post_init__(self) -> None:
        _check_counts(self.outputs, self.mismatches, self.conversions_checked, self.clipped_conversions)


@dataclass(frozen=True)
class Check:
    """The comparison of a whole run.

    Attributes:
        images: images that went through the arrays.
        outputs, mismatches: integer layer outputs compared, and those that differ.
        top1_float, top1_integer, top1_crossbar: share of images classified correctly, 0 to 1, by the float
            network, the integer reference and the arrays; None where there are no labels or it was not run.
        snr_db: signal to error over all outputs (as in `LayerCheck`); None when exact.
        conversions_checked, clipped_conversions: ADC conversions looked at, and those above full scale.
        layers: the same by layer; may be empty.

    Raises:
        ValueError: counts that cannot be (more mismatches than outputs, a negative count, an accuracy
            outside 0 to 1).
    """

    images: int
    outputs: int
    mismatches: int
    top1_float: float | None = None
    top1_integer: float | None = None
    top1_crossbar: float | None = None
    snr_db: float | None = None
    conversions_checked: int = 0
    clipped_conversions: int = 0
    layers: tuple[LayerCheck, ...] = ()

    def __post_init__(self) -> None:
        _rule(self.images >= 0, f"images={self.images}: must not be negative")
        _check_counts(self.outputs, self.mismatches, self.conversions_checked, self.clipped_conversions)
        for name in ("top1_float", "top1_integer", "top1_crossbar"):
            share = getattr(self, name)
            _rule(share is None or 0 <= share <= 1, f"{name}={share}: must be a share between 0 and 1")

    @property
    def exact(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.outputs > 0 and self.mismatches == 0

    @property
    def line(self) -> str:
        """The comparison as one line, such as ``0 of 10 outputs differ from the reference``."""
        if not self.outputs:
            return "no outputs were compared with the reference"
        return f"{self.mismatches:,} of {self.outputs:,} outputs differ from the reference"


def _check_counts(outputs: int, mismatches: int, conversions: int, clipped: int) -> None:
    _rule(0 <= mismatches <= outputs, f"mismatches={mismatches}: must lie between 0 and outputs={outputs}")
    _rule(
        0 <= clipped <= conversions,
        f"clipped_conversions={clipped}: must lie between 0 and conversions_checked={conversions}",
    )
