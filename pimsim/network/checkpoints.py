"""Checkpoint files read as data only: tensors, prune masks and metadata, never code.

Every ``torch.load`` here has ``weights_only=True``, so a file cannot run code. Wrapped
state dicts are unwrapped, pairs of ``torch.nn.utils.prune`` become one weight and its mask.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pimsim.errors import CheckpointError

TORCH_SUFFIXES = (".pt", ".pth", ".th")
SUFFIXES = (*TORCH_SUFFIXES, ".safetensors")
# Where training scripts put the state dict, in the order in which it is looked for.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema")
# The safetensors metadata key that holds JSON written by pimsim's own training.
METADATA_KEY = "pimsim"
_ENTRY_FORMS = MappingProxyType(
    {"quantization": "'quantization': {layer: record}", "structure": "'structure': [{rewrite: name, ...}]"}
)

State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of one checkpoint file.

    Attributes:
        path: the file.
        state: key to tensor, unwrapped; prune pairs are kept as ``NAME_orig`` and ``NAME_mask``.
        metadata: text metadata of a safetensors file; empty for the others.
    """

    path: Path
    state: State
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def quantization(self) -> dict[str, Any]:
        """Layer name to plain `LayerQuantization` values, as pimsim's training wrote them; or empty.

        Raises:
            CheckpointError: the metadata entry is not the JSON that pimsim writes.
        """
        return dict(self._entry("quantization", dict))

    @property
    def structure(self) -> list[dict[str, Any]]:
        """Changes of the network's structure that the weights were trained with (`pimsim.network.rewrites`); or empty.

        Raises:
            CheckpointError: the metadata entry is not the JSON that pimsim writes.
        """
        return [dict(entry) for entry in self._entry("structure", list)]

    def _entry(self, key: str, kind: type[Any]) -> Any:
        text = self.metadata.get(METADATA_KEY)
        if text is None:
            return kind()
        try:
            found = json.loads(text).get(key, kind())
        except (ValueError, AttributeError):
            found = None
        if isinstance(found, kind) and (kind is dict or all(isinstance(entry, dict) for entry in found)):
            return found
        raise CheckpointError(
            f"metadata entry '{METADATA_KEY}'",
            f"it must be JSON with the entry {_ENTRY_FORMS[key]}",
            str(self.path),
        )


def load_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors and metadata of a ``.pt``, ``.pth``, ``.th`` or ``.safetensors`` file.

    Raises:
        CheckpointError: missing, of another kind, truncated, a pickled module, without tensors,
            or with NaN or infinite values.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix.lower() == ".safetensors":
        state, metadata = _read_safetensors(path)
    else:
        state, metadata = _unwrap(_read_torch(path), path), {}
    _check_finite(state, path)
    return Checkpoint(path, state, metadata)


def load_state_dict(path: str | Path) -> tuple[State, dict[str, str]]:
    """State dict and metadata of a checkpoint file; see `load_checkpoint`."""
    checkpoint = load_checkpoint(path)
    return checkpoint.state, checkpoint.metadata


def merge_prune_pairs(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """State dict with each ``NAME_orig``, ``NAME_mask`` pair as NAME = orig * mask, and NAME's masks.

    Reference: ``torch.nn.utils.prune``, whose reparametrization has exactly these two names.
    """
    merged, masks = dict(state), {}
    for key in state:
        name = key.removesuffix("_orig")
        if name == key or f"{name}_mask" not in state:
            continue
        mask = merged.pop(f"{name}_mask")
        merged[name] = merged.pop(key) * mask
        masks[name] = mask
    return merged, masks


def _check_file(path: Path) -> None:
    if not path.exists():
        raise CheckpointError("checkpoint", "there is no such file", str(path), "Check the path")
    if not path.is_file():
        raise CheckpointError("checkpoint", "this is not a file", str(path), "Give the path of one file")
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(
            f"a file that ends in '{path.suffix}'", f"checkpoints end in {', '.join(SUFFIXES)}", str(path)
        )


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower():
            raise _pickled(path, error) from None
        raise _unreadable(path, error) from None
    except Exception as error:  # a damaged archive raises nearly anything (RuntimeError, EOFError, KeyError, ...)
        raise _unreadable(path, error) from None


def _pickled(path: Path, error: Exception) -> CheckpointError:
    found = re.search(r"(?:Unsupported global: GLOBAL|global:?) ([\w.]+)", str(error), re.IGNORECASE)
    wanted = found.group(1) if found else "code"
    return CheckpointError(
        f"a pickled object (it needs {wanted})",
        "loading it would run code from the file, so only tensors are read",
        str(path),
        "If you trust the file, convert it once: "
        f"torch.save(torch.load('{path.name}', weights_only=False).state_dict(), '{path.stem}-state.pt') "
        "for a pickled module, or save its state dict alone",
    )


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()
    return CheckpointError(
        f"a file that cannot be read ({reason[0] if reason else type(error).__name__})",
        "it is truncated, damaged or not a checkpoint",
        str(path),
        "Copy or save it again",
    )


def _unwrap(content: Any, path: Path) -> State:
    """The state dict inside what a training script saved, wrappers of wrappers included."""
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            inner = content.get(wrapper)
            if isinstance(inner, Mapping):
                return _unwrap(inner, path)
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"a {type(content).__name__} without tensors" if not isinstance(content, Mapping)
            else f"a dict with the entries {', '.join(map(str, list(content)[:8])) or '(none)'}",
            f"a checkpoint is a state dict, or holds one as {', '.join(WRAPPERS)}",
            str(path),
            "Save model.state_dict()",
        )  # fmt: skip
    other = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise CheckpointError(
            f"entries that are not tensors: {', '.join(other[:8])}",
            "a bare state dict holds tensors only",
            str(path),
            "Save model.state_dict(), or wrap it as {'state_dict': ..., ...}",
        )
    return {str(key): value.detach() for key, value in content.items()}


def _check_finite(state: State, path: Path) -> None:
    for key, value in state.items():
        if value.is_floating_point() and (bad := int((~torch.isfinite(value)).sum())):
            raise CheckpointError(
                f"tensor '{key}' with {bad} of {value.numel()} values NaN or infinite",
                "weights must be finite numbers",
                str(path),
                "Take an earlier checkpoint of the training",
            )
