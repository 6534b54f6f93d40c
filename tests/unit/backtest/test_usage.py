"""How much of the budget was used."""

from consumer.backtest.usage import usage
from pasts import history, raised, window


def test_customers_alerted_are_held_against_those_active() -> None:
    """By horizon, back from the end; a customer alerted twice in one counts once."""
    past = history({0: [0, 50], 1: [0], 2: [0], 3: [70]})
    used = usage(past, window(0, 90), raised(past, [(0, 10), (1, 12), (0, 65), (0, 70)]), 0.15)
    assert used.alerted.tolist() == [2, 0, 1]
    assert used.active.tolist() == [3, 3, 4]
    assert used.share.tolist() == [2 / 3, 0, 1 / 4]


def test_a_customer_is_active_for_a_year() -> None:
    """After that, nobody need be told that they are gone."""
    past = history({0: [0], 1: [400]})
    assert usage(past, window(0, 430), raised(past, [(1, 410)]), 0.15).active.tolist()[-1] == 1
