"""An issue under several categories keeps the one that asks for most care, whoever reported what first."""

from __future__ import annotations

from functools import reduce
from itertools import permutations

import pytest

from issues.categories import riskier


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("flaky_test", "wording"), "wording"),
        (("test_failure", "flaky_test"), "flaky_test"),
        (("a_word", "security_auth_change", "test_failure"), "security_auth_change"),
        (("security_auth", "b", "a"), "security_auth"),
        (("external_code_intake", "security_auth_change"), "external_code_intake"),
        (("", "flaky_test"), "flaky_test"),
        (("Flaky Test", "zzz"), "zzz"),
        (("", ""), ""),
    ],
)
def test_the_riskier_is_kept_in_any_order(words: tuple[str, ...], kept: str) -> None:
    assert {reduce(riskier, order) for order in permutations(words)} == {kept}
