"""Favourite categories and items."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.affinity import FORGOTTEN
from consumer.core.calendar import DAY_MS
from consumer.core.fold import fold
from consumer.core.packing import pack, unpack
from consumer.core.state import FAVOURITE_CATEGORIES, FAVOURITE_ITEMS, States, empty_states
from histories import Happened, columns, day, fold_rules, folded
from schemas.event import EventType

VIEW, CART, PURCHASE = EventType.VIEW_ITEM, EventType.ADD_TO_CART, EventType.PURCHASE
SEARCH, EMAIL = EventType.SEARCH, EventType.EMAIL_OPEN


def items(states: States, row: int = 0, kept: str = "items") -> list[tuple[str, float]]:
    """A user's favourites, heaviest first."""
    favourites = states.header[kept][row]
    return [(name.decode(), round(weight, 4)) for name, weight in favourites.tolist() if name]


def test_kinds_weigh_differently() -> None:
    """A purchase weighs 5, a cart 3, a view and a search 1; an opened e-mail says nothing about an item."""
    kinds = {"bought": PURCHASE, "carted": CART, "seen": VIEW, "mailed": EMAIL}
    states = folded([Happened(kind, day(0), item=name) for name, kind in kinds.items()])
    assert items(states) == [("bought", 5.0), ("carted", 3.0), ("seen", 1.0)]
    states = folded([Happened(SEARCH, day(0), category="shoes")])
    assert items(states, kept="categories") == [("shoes", 1.0)]


def test_weights_halve_in_thirty_days() -> None:
    """What was bought a month ago weighs half as much as the same today, wherever in between other events were."""
    history = [Happened(PURCHASE, day(0), item="old"), Happened(VIEW, day(11), item="x"), Happened(EMAIL, day(20))]
    states = folded([*history, Happened(PURCHASE, day(30), item="new")])
    assert items(states) == [("new", 5.0), ("old", 2.5), ("x", 0.6447)]


def test_a_late_event_weighs_what_it_would_have() -> None:
    """An event that arrives a day late has the weight that it has lost since."""
    late = [Happened(PURCHASE, day(1), item="b"), Happened(PURCHASE, day(0) + 1, item="a")]
    in_order = folded([late[1], late[0]])
    assert items(folded(late)) == items(in_order) == [("b", 5.0), ("a", 4.8858)]


def test_a_view_does_not_push_out_what_was_bought() -> None:
    """With every place taken by purchases, a single view gets none; the same item viewed again and again does."""
    bought = [Happened(PURCHASE, day(0), item=f"bought-{each}") for each in range(FAVOURITE_ITEMS)]
    view = Happened(VIEW, day(0), item="seen")
    names = [name for name, _ in items(folded([*bought, view]))]
    assert names == [f"bought-{each}" for each in range(FAVOURITE_ITEMS)]
    assert ("seen", 1.0) in items(folded([*bought, *[view] * 5]))


def test_equal_weights_are_in_order_of_name() -> None:
    """Ties do not depend on who came first."""
    history = [Happened(VIEW, day(0), item=name) for name in "cab"]
    assert [name for name, _ in items(folded(history))] == ["a", "b", "c"]


def test_what_is_long_ago_is_forgotten() -> None:
    """A view counts for less than 200 days."""
    history = [Happened(VIEW, day(0), item="old"), Happened(VIEW, day(200), item="new")]
    assert items(folded(history)) == [("new", 1.0)]


def test_an_erased_user_has_no_favourites() -> None:
    """After a tombstone only what came later is known."""
    history = [Happened(PURCHASE, day(0), item="a", category="b", language="de"), Happened(None, day(1))]
    states = folded([*history, Happened(VIEW, day(2), item="c")])
    assert (items(states), items(states, kept="categories")) == ([("c", 1.0)], [])
    assert states.header["language"].tolist() == [b""]


def test_the_last_language_is_kept() -> None:
    """An event without a locale leaves the language as it was."""
    history = [Happened(VIEW, day(each), language=language) for each, language in enumerate(["de", "en", ""])]
    assert folded(history).header["language"].tolist() == [b"en"]


# Against the same rules in plain Python, and however batches are cut.

HAPPENED = st.builds(
    Happened,
    st.sampled_from([VIEW, VIEW, SEARCH, CART, PURCHASE, EMAIL, None]),
    st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0, 3.5, 40.0, 41.0, 300.0]).map(day),
    st.integers(0, 2),
    item=st.sampled_from(["", *"abcdefghij"]),
    category=st.sampled_from(["", *"uvwxyz"]),
)
HISTORY = st.lists(HAPPENED, min_size=1, max_size=60)
RULES = fold_rules(max_lateness_ms=400 * DAY_MS)
WEIGHTS = {VIEW: 1.0, SEARCH: 1.0, CART: 3.0, PURCHASE: 5.0}


class Plain:
    """One user's favourites of one sort, one event at a time."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.weights: dict[str, np.float32] = {}

    def event(self, name: str, added: np.float32, decay: np.float32) -> None:
        """All weights decay; then one name gains."""
        weights = {each: weight * decay for each, weight in self.weights.items()}
        weakest = max(weights, key=lambda each: (-weights[each], each)) if len(weights) == self.places else None
        if name in weights:
            weights[name] += added
        elif name and weakest and weights[weakest] > added:
            weights[weakest] -= added
        elif name:
            weights.pop(weakest or "", None)
            weights[name] = added
        self.weights = {each: weight for each, weight in weights.items() if weight >= FORGOTTEN}


def halved(days: int) -> np.float32:
    """What is left of a weight of 1 after so many days."""
    return np.float32(np.exp2(-days / 30))


@given(HISTORY)
@settings(max_examples=200)
def test_favourites_are_as_in_plain_python(history: list[Happened]) -> None:
    """The vectorised favourites are those of a dictionary and a loop."""
    plain = {user: (Plain(FAVOURITE_CATEGORIES), Plain(FAVOURITE_ITEMS)) for user in range(3)}
    newest: dict[int, int] = {}
    for each in history:
        if each.kind is None:
            plain[each.user] = (Plain(FAVOURITE_CATEGORIES), Plain(FAVOURITE_ITEMS))
            newest.pop(each.user, None)
        elif each.kind in WEIGHTS and (each.item or each.category):
            number = each.at_ms // DAY_MS
            was, now = newest.get(each.user, number), max(newest.get(each.user, number), number)
            added = np.float32(WEIGHTS[each.kind]) * halved(now - number)
            for favourites, name in zip(plain[each.user], (each.category, each.item), strict=True):
                favourites.event(name, added, halved(now - was))
            newest[each.user] = now
    states = folded(history, RULES, users=3)
    for user, expected in plain.items():
        for kept, favourites in zip(("categories", "items"), expected, strict=True):
            found = {name.decode(): weight for name, weight in states.header[kept][user].tolist() if name}
            assert found == favourites.weights


@given(HISTORY, st.lists(st.integers(0, 60), max_size=4))
def test_favourites_do_not_depend_on_how_batches_are_cut(history: list[Happened], cuts: list[int]) -> None:
    """Folding in one go or in parts, stored in between, leaves the same bits."""
    events = columns(history)
    states = empty_states(3)
    for part in np.split(np.arange(len(events)), sorted(min(cut, len(events)) for cut in cuts)):
        states = unpack(pack(states))
        fold(states, events.take(part), RULES)
    assert pack(states) == pack(folded(history, RULES, users=3))
