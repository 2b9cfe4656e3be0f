"""Errors planted in the package are caught by the tests that are meant to."""

import pytest
from mutants import MUTANTS, Mutant, main, outcome

pytest.importorskip("pyamg", reason="some of the tests need pyamg, and would be skipped")


SLOWER = {
    "solves before a restart not counted",
    "nonlinear bound / 20",
    "mu ten times larger",
    "fingerprint without the box",
}


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - SLOWER))
def test_planted_errors_are_caught(name):
    assert outcome(MUTANTS[name]) == "caught"


def test_all_planted_errors_are_here():
    """The script plants them all; those that take longer are not planted here."""
    assert len(MUTANTS) == 74 and len(SLOWER & MUTANTS.keys()) == 4


def test_what_is_not_planted_is_not_called_caught(capsys, monkeypatch):
    with pytest.raises(ValueError, match="0 times, not once"):
        Mutant("terms/control.py", "no such text", "", ()).planted()
    monkeypatch.setitem(
        MUTANTS, "none", Mutant("terms/control.py", "def soft(", "def soft(", ("test_terms.py::test_nothing",))
    )
    assert main(["none"]) == 1 and "no outcome" in capsys.readouterr().out
