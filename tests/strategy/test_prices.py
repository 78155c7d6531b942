"""What tokens cost: dated rows, the ruleset's before the published, and what is not known stays unknown."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from autopack_site.kernel.errors import Invalid
from strategy import validation
from strategy.prices import Tokens, cost_micro_usd, price_of, published

ON = date(2026, 11, 26)
SONNET = "claude-sonnet-5-5"


def row(model: str, start: str = "2026-01-01", **prices: float) -> dict[str, Any]:
    return {"model": model, "from": start, "input_usd": 1, "output_usd": 2, **prices}


def test_each_kind_of_token_has_its_price_and_reasoning_is_output() -> None:
    tokens = Tokens(input_tokens=1_000, output_tokens=200, cache_read_tokens=50_000, cache_write_tokens=4_000)
    # 1,000 x 2 + 200 x 10 + 50,000 x 0.1 + 4,000 x 2.5
    assert cost_micro_usd(tokens, SONNET, ON) == 2_000 + 2_000 + 5_000 + 10_000


def test_the_price_is_that_of_the_day() -> None:
    tokens = Tokens(0, 0, cache_read_tokens=1_000_000)
    assert cost_micro_usd(tokens, SONNET, date(2026, 10, 6)) == 200_000
    assert cost_micro_usd(tokens, SONNET, date(2026, 10, 7)) == 100_000
    assert cost_micro_usd(tokens, SONNET, date(2026, 1, 1)) is None


@pytest.mark.parametrize(
    "model",
    [SONNET, f"{SONNET}-20260928", f"anthropic/{SONNET}", f"{SONNET}[1m]", f"{SONNET}-20260928[1m]",
     SONNET.upper(), f"{SONNET}-2026-09-28"],
)  # fmt: skip
def test_a_model_is_known_under_the_names_that_providers_give_it(model: str) -> None:
    assert price_of(model, ON) == price_of(SONNET, ON) is not None


@pytest.mark.parametrize(
    "model", ["", "gpt-99", "claude-sonnet-5-7", "claude-sonnet-5-5-turbo", "xclaude-sonnet-5-5", "a" * 128]
)
def test_a_model_that_no_row_names_has_no_price(model: str) -> None:
    assert price_of(model, ON) is None
    assert cost_micro_usd(Tokens(10, 10), model, ON) is None


@pytest.mark.parametrize("tokens", [Tokens(None, 5), Tokens(5, None), Tokens(None, None, 7, 7)])
def test_tokens_that_are_not_told_apart_have_no_cost(tokens: Tokens) -> None:
    assert cost_micro_usd(tokens, SONNET, ON) is None


def test_a_part_that_was_used_and_has_no_price_makes_the_cost_unknown() -> None:
    own = [row("mine")]
    assert cost_micro_usd(Tokens(1, 1), "mine", ON, own) == 3
    assert cost_micro_usd(Tokens(1, 1, cache_read_tokens=1), "mine", ON, own) is None
    assert cost_micro_usd(Tokens(1, 1, cache_read_tokens=0), "mine", ON, own) == 3


def test_nothing_used_costs_nothing_which_is_not_unknown() -> None:
    assert cost_micro_usd(Tokens(0, 0), SONNET, ON) == 0


def test_what_is_less_than_a_millionth_is_rounded_up() -> None:
    assert cost_micro_usd(Tokens(1, 0), "mine", ON, [row("mine", input_usd=0.1)]) == 1


def test_the_ruleset_s_rows_go_first_and_the_closest_name_wins() -> None:
    own = [
        row("gpt-*", input_usd=7),
        row("gpt-5*", input_usd=8),
        row("gpt-5.4", input_usd=9),
        row("gpt-5.4", start="2027-01-01", input_usd=1),
    ]

    def found(model: str) -> Any:
        price = price_of(model, ON, own)
        return None if price is None else price["input_usd"]

    assert [found(name) for name in ("gpt-5.4", "gpt-5.2", "gpt-3", SONNET)] == [9, 8, 7, 2]


def test_the_published_rows_obey_the_schema_of_a_ruleset_s_own() -> None:
    own = [{key: value for key, value in row.items() if key != "source"} for row in published()]
    validation.check_ruleset({"prices": own})
    assert all(row["source"].startswith("https://") for row in published())
    assert len({(row["model"], row["from"]) for row in published()}) == len(published())


def test_a_published_table_never_changes() -> None:
    """Newer prices are a new file: what was priced by this one stays as it was."""
    import hashlib

    from strategy.published import DATA_DIR

    digest = hashlib.sha256((DATA_DIR / "prices_2026-11.json").read_bytes()).hexdigest()
    assert digest == "7582a7ae4008c5a42e7a9cffc695f083484bba44255fd51594408dd15839adb9"


def test_no_agent_s_figures_cost_more_than_a_counter_holds() -> None:
    most = [row("mine", input_usd=100_000, output_usd=100_000)]
    assert cost_micro_usd(Tokens(10**12, 10**12), "mine", ON, most) == 10**12


@pytest.mark.parametrize(
    ("prices", "loc"),
    [
        ([row("m"), row("M", input_usd=9)], ["prices", 1, "model"]),
        ([row("m", start="2026-02-31")], ["prices", 0, "from"]),
    ],
)
def test_prices_that_say_two_things_or_name_no_day_are_refused(prices: list[Any], loc: list[Any]) -> None:
    with pytest.raises(Invalid) as caught:
        validation.check_ruleset({"prices": prices})
    assert [found["loc"] for found in caught.value.problems] == [loc]
    assert validation.check_ruleset({"prices": [row("m"), row("m", start="2026-03-01")]})
