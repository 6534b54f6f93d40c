"""Sentences: the right one for the facts, in every language."""

from math import nan

import pytest

from consumer.catalogues import load_languages
from consumer.core.fold import Target
from consumer.core.reason_texts import told
from consumer.core.reasons import Contribution
from schemas.alert import ReasonCode

SILENT = {"silent_days": 34.2, "gap_days": 9.1, "is_own": 1.0}
BAD = {"count": 1.0, "now": -0.62, "before": nan, "ago_days": 0.0}
FELL = {"now": 120.0, "before": 540.0, "views": 0.0, "searches": 0.0, "dwell_s": 1.0}


def english(code: str, target: Target = "purchase", **facts: float) -> str:
    return told(Contribution(ReasonCode(code), 0.1, facts), load_languages(), target).text


@pytest.mark.parametrize(
    ("code", "facts", "text"),
    [
        ("rhythm_broken", SILENT, "No purchase for 34 days; usually every 9 days."),
        (
            "rhythm_broken",
            {**SILENT, "silent_days": 1.0, "gap_days": 0.2, "is_own": 0.0},
            "No purchase for 1 day; customers of this shop usually return after 1 day.",
        ),
        (
            "frequency_falling",
            {"now": 21.4, "before": 9.0},
            "Purchases have become rarer: every 21 days lately, every 9 days earlier.",
        ),
        ("browsing_falling", FELL, "Stays shorter: 2.0 minutes a day lately, 9.0 earlier."),
        (
            "browsing_falling",
            {**FELL, "now": 2.0, "before": 9.5, "views": 1.0, "searches": 1.0},
            "Looks at fewer items: 2.0 a day lately, 9.5 earlier.",
        ),
        (
            "browsing_falling",
            {**FELL, "now": 0.0, "before": 1.5, "searches": 1.0},
            "Searches less: 0.0 times a day lately, 1.5 earlier.",
        ),
        (
            "cart_abandoned",
            {"count": 2.0, "ago_days": 1.0},
            "2 items put into the cart and not bought, most recently 1 day ago.",
        ),
        ("sentiment_falling", BAD, "1 bad review or message, most recently today: sentiment -0.6."),
        (
            "sentiment_falling",
            {**BAD, "count": 2.0, "before": 0.44, "ago_days": 3.0},
            "2 bad reviews or messages, most recently 3 days ago: sentiment -0.6, usually 0.4.",
        ),
        (
            "refunds_or_tickets",
            {"refunds": 1.0, "tickets": 0.0, "ago_days": 5.0},
            "1 refund, most recently 5 days ago.",
        ),
        (
            "refunds_or_tickets",
            {"refunds": 0.0, "tickets": 2.0, "ago_days": 0.0},
            "2 support tickets, most recently today.",
        ),
        (
            "refunds_or_tickets",
            {"refunds": 1.0, "tickets": 1.0, "ago_days": 0.0},
            "1 refund and 1 support ticket, most recently today.",
        ),
        ("spend_falling", {"now": 12.0, "before": 45.5}, "Spends less: 12.00 on a purchase day lately, 45.50 earlier."),
        ("discount_dependence", {"count": 3.0, "of": 4.0}, "Bought with a coupon or discount on 75% of purchase days."),
        ("newcomer", {"count": 1.0, "since_days": 8.0}, "New: 1 purchase so far, first seen 8 days ago."),
        ("history", {"count": 7.0, "gap_days": 23.0}, "7 purchases so far, 23 days apart on average."),
        ("history", {"count": 3.0, "gap_days": nan}, "3 purchases so far, all on one day."),
        ("base_rate", {"share": 0.75, "horizon_days": 30.0}, "75% of all customers do not return within 30 days."),
    ],
)
def test_the_sentence_fits_the_facts(code: str, facts: dict[str, float], text: str) -> None:
    """Concrete, with singular and plural, and without what is not known."""
    assert english(code, **facts) == text


def test_activity_is_not_called_a_purchase() -> None:
    """Where staying means doing anything, sentences speak of that."""
    assert english("rhythm_broken", "activity", **SILENT) == "Nothing heard for 34 days; usually active every 9 days."
    facts = {"count": 2.0, "gap_days": nan, "since_days": 0.0}
    assert english("newcomer", "activity", **facts) == "New: 2 actions so far, first seen today."
    assert english("history", "activity", **facts) == "2 actions so far."


def test_every_language_says_it() -> None:
    """A reason carries its sentence in English and in Chinese, with the same figures."""
    reason = told(Contribution(ReasonCode.RHYTHM_BROKEN, 0.2, SILENT), load_languages(), "purchase")
    assert reason.texts == {"en": reason.text, "zh": "已有 34 天没有购买；平时每 9 天购买一次。"}
