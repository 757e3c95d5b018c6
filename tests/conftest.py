"""Fixtures for every kind of test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Finished:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def repository_path() -> Path:
    """The root of the checkout, for fixtures that outlive a test."""
    return REPOSITORY


@pytest.fixture
def pimsim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs the command line in this process, as the console script does."""
    from pimsim.cli import main

    def run(*words: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["pimsim", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return Finished(int(left.value.code or 0), captured.out, captured.err)

    return run
