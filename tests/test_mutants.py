"""Errors planted in the package are caught by the tests that are meant to."""

import pytest
from mutants import MUTANTS, Mutant, main, outcome

pytest.importorskip("pyamg", reason="some of the tests need pyamg, and would be skipped")


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_errors_are_caught(name):
    assert outcome(MUTANTS[name]) == "caught"


def test_all_planted_errors_are_here():
    assert len(MUTANTS) == 18


@pytest.mark.slow
def test_a_copy_without_an_error_passes_the_same_tests():
    tests = tuple(dict.fromkeys(test for mutant in MUTANTS.values() for test in mutant.tests))
    assert outcome(Mutant("terms/control.py", "def soft(", "def soft(", tests)) == "survived"


def test_what_is_not_planted_is_not_called_caught(capsys, monkeypatch):
    with pytest.raises(ValueError, match="0 times, not once"):
        Mutant("terms/control.py", "no such text", "", ()).planted()
    monkeypatch.setitem(
        MUTANTS, "none", Mutant("terms/control.py", "def soft(", "def soft(", ("test_terms.py::test_nothing",))
    )
    assert main(["none"]) == 1 and "no outcome" in capsys.readouterr().out
