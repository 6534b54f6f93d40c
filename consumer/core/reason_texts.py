"""Reasons in words. English is the source; `consumer/locale` has the sentences of every language.

`told` picks a sentence by code and facts; `MESSAGES` and `PLURALS` list all there are, so that a catalogue can be
checked before the first alert.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from gettext import NullTranslations
from math import isnan
from typing import Final

from consumer.core.fold import Target
from consumer.core.reasons import Contribution, Facts
from schemas.alert import Reason, ReasonCode

Languages = Mapping[str, NullTranslations]
SOURCE: Final = "en"
ENGLISH: Final[Languages] = {SOURCE: NullTranslations()}

DAYS: Final = ("{n} day", "{n} days")
PURCHASES: Final = ("{n} purchase", "{n} purchases")
ACTIONS: Final = ("{n} action", "{n} actions")
REFUNDS: Final = ("{n} refund", "{n} refunds")
TICKETS: Final = ("{n} support ticket", "{n} support tickets")
BAD_TEXTS: Final = ("{n} bad review or message", "{n} bad reviews or messages")
IN_CART: Final = ("{n} item", "{n} items")
PLURALS: Final = (DAYS, PURCHASES, ACTIONS, REFUNDS, TICKETS, BAD_TEXTS, IN_CART)

TODAY: Final = "today"
DAYS_AGO: Final = "{days} ago"
NO_PURCHASE: Final = "No purchase for {silent}; usually every {usual}."
NOTHING_HEARD: Final = "Nothing heard for {silent}; usually active every {usual}."
NO_PURCHASE_SHOP: Final = "No purchase for {silent}; customers of this shop usually return after {usual}."
NOTHING_HEARD_SHOP: Final = "Nothing heard for {silent}; customers of this shop usually return after {usual}."
FREQUENCY: Final = "Purchases have become rarer: every {now} lately, every {before} earlier."
VIEWS: Final = "Looks at fewer items: {now} a day lately, {before} earlier."
SEARCHES: Final = "Searches less: {now} times a day lately, {before} earlier."
DWELL: Final = "Stays shorter: {now} minutes a day lately, {before} earlier."
CART: Final = "{items} put into the cart and not bought, most recently {ago}."
SENTIMENT: Final = "{texts}, most recently {ago}: sentiment {now}."
SENTIMENT_USUAL: Final = "{texts}, most recently {ago}: sentiment {now}, usually {before}."
REFUNDED: Final = "{refunds}, most recently {ago}."
COMPLAINED: Final = "{tickets}, most recently {ago}."
REFUNDED_COMPLAINED: Final = "{refunds} and {tickets}, most recently {ago}."
SPEND: Final = "Spends less: {now} on a purchase day lately, {before} earlier."
DISCOUNT: Final = "Bought with a coupon or discount on {share} of purchase days."
NEWCOMER_BOUGHT: Final = "New: {purchases} so far, first seen {ago}."
NEWCOMER_ACTIVE: Final = "New: {actions} so far, first seen {ago}."
HISTORY_GAP: Final = "{purchases} so far, {gap} apart on average."
HISTORY_ONE_DAY: Final = "{purchases} so far, all on one day."
HISTORY_ACTIVE: Final = "{actions} so far."
BASE_RATE: Final = "{share} of all customers do not return within {horizon}."
MESSAGES: Final = (
    TODAY, DAYS_AGO, NO_PURCHASE, NOTHING_HEARD, NO_PURCHASE_SHOP, NOTHING_HEARD_SHOP, FREQUENCY, VIEWS, SEARCHES,
    DWELL, CART, SENTIMENT, SENTIMENT_USUAL, REFUNDED, COMPLAINED, REFUNDED_COMPLAINED, SPEND, DISCOUNT,
    NEWCOMER_BOUGHT, NEWCOMER_ACTIVE, HISTORY_GAP, HISTORY_ONE_DAY, HISTORY_ACTIVE, BASE_RATE,
)  # fmt: skip


def told(reason: Contribution, languages: Languages, target: Target) -> Reason:
    """A contribution with its sentence in every language."""
    sentence = _SENTENCES[reason.code]
    texts = {name: sentence(_Words(translations, target), reason.facts) for name, translations in languages.items()}
    return Reason(code=reason.code, contribution=reason.contribution, text=texts[SOURCE], texts=texts)


@dataclass(frozen=True)
class _Words:
    """One language's messages, filled in."""

    translations: NullTranslations
    target: Target

    def say(self, message: str, **values: str) -> str:
        return self.translations.gettext(message).format(**values)

    def count(self, plural: tuple[str, str], amount: float) -> str:
        number = round(amount)
        return self.translations.ngettext(*plural, number).format(n=number)

    def days(self, amount: float) -> str:
        """At least one: a rhythm of several purchases a day is still told in days."""
        return self.count(DAYS, max(amount, 1.0))

    def ago(self, days: float) -> str:
        return self.say(DAYS_AGO, days=self.count(DAYS, days)) if round(days) > 0 else self.say(TODAY)


def _rhythm(words: _Words, facts: Facts) -> str:
    if words.target == "purchase":
        message = NO_PURCHASE if facts["is_own"] else NO_PURCHASE_SHOP
    else:
        message = NOTHING_HEARD if facts["is_own"] else NOTHING_HEARD_SHOP
    return words.say(message, silent=words.days(facts["silent_days"]), usual=words.days(facts["gap_days"]))


def _frequency(words: _Words, facts: Facts) -> str:
    return words.say(FREQUENCY, now=words.days(facts["now"]), before=words.days(facts["before"]))


def _browsing(words: _Words, facts: Facts) -> str:
    message = VIEWS if facts["views"] else SEARCHES if facts["searches"] else DWELL
    unit = 60.0 if message == DWELL else 1.0
    return words.say(message, now=f"{facts['now'] / unit:.1f}", before=f"{facts['before'] / unit:.1f}")


def _cart(words: _Words, facts: Facts) -> str:
    return words.say(CART, items=words.count(IN_CART, facts["count"]), ago=words.ago(facts["ago_days"]))


def _sentiment(words: _Words, facts: Facts) -> str:
    values = {
        "texts": words.count(BAD_TEXTS, facts["count"]),
        "ago": words.ago(facts["ago_days"]),
        "now": f"{facts['now']:.1f}",
    }
    if isnan(facts["before"]):
        return words.say(SENTIMENT, **values)
    return words.say(SENTIMENT_USUAL, **values, before=f"{facts['before']:.1f}")


def _complaints(words: _Words, facts: Facts) -> str:
    message = REFUNDED if not facts["tickets"] else COMPLAINED if not facts["refunds"] else REFUNDED_COMPLAINED
    refunds, tickets = words.count(REFUNDS, facts["refunds"]), words.count(TICKETS, facts["tickets"])
    return words.say(message, refunds=refunds, tickets=tickets, ago=words.ago(facts["ago_days"]))


def _spend(words: _Words, facts: Facts) -> str:
    return words.say(SPEND, now=f"{facts['now']:.2f}", before=f"{facts['before']:.2f}")


def _discount(words: _Words, facts: Facts) -> str:
    return words.say(DISCOUNT, share=f"{facts['count'] / facts['of']:.0%}")


def _newcomer(words: _Words, facts: Facts) -> str:
    message, plural = (NEWCOMER_BOUGHT, PURCHASES) if words.target == "purchase" else (NEWCOMER_ACTIVE, ACTIONS)
    count = words.count(plural, facts["count"])
    return words.say(message, purchases=count, actions=count, ago=words.ago(facts["since_days"]))


def _history(words: _Words, facts: Facts) -> str:
    if words.target == "activity":
        return words.say(HISTORY_ACTIVE, actions=words.count(ACTIONS, facts["count"]))
    purchases = words.count(PURCHASES, facts["count"])
    if isnan(facts["gap_days"]):
        return words.say(HISTORY_ONE_DAY, purchases=purchases)
    return words.say(HISTORY_GAP, purchases=purchases, gap=words.days(facts["gap_days"]))


def _base_rate(words: _Words, facts: Facts) -> str:
    return words.say(BASE_RATE, share=f"{facts['share']:.0%}", horizon=words.days(facts["horizon_days"]))


_SENTENCES: Final[Mapping[ReasonCode, Callable[[_Words, Facts], str]]] = {
    ReasonCode.RHYTHM_BROKEN: _rhythm,
    ReasonCode.FREQUENCY_FALLING: _frequency,
    ReasonCode.BROWSING_FALLING: _browsing,
    ReasonCode.CART_ABANDONED: _cart,
    ReasonCode.SENTIMENT_FALLING: _sentiment,
    ReasonCode.REFUNDS_OR_TICKETS: _complaints,
    ReasonCode.SPEND_FALLING: _spend,
    ReasonCode.DISCOUNT_DEPENDENCE: _discount,
    ReasonCode.NEWCOMER: _newcomer,
    ReasonCode.HISTORY: _history,
    ReasonCode.BASE_RATE: _base_rate,
}
