"""A share of what `make prove` gives every parser of bytes from outside."""

from __future__ import annotations

import pytest

from laws_fuzz import PARSERS


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_bytes_are_given_one_line_is_said(name: str) -> None:
    trial, number = PARSERS[name]
    assert trial(max(15, number // 200)) >= 15
