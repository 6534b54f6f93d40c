"""Which categories and items a user likes: recency-weighted, the few with the most weight.

Every view, search, cart and purchase adds to the weight of its category and item, and all weights halve every 30 days.
There is room for a few, heaviest first. A newcomer takes the weakest one's place if it weighs at least as much;
otherwise its weight is taken off the weakest, so that what comes up again and again gets in (the vote of Boyer & Moore
1991, "MJRTY: a fast majority vote algorithm", for the last place). No weight is more than what the user did.
"""

from typing import Final

import numpy as np

from consumer.core.events import KINDS, Events
from consumer.core.state import NO_DAY, gathered, raw
from schemas.event import EventType

HALF_LIFE_DAYS: Final = 30
FORGOTTEN: Final = 0.01  # lighter ones are left out: a view is after 200 days
_KIND_WEIGHT: Final = {
    EventType.VIEW_ITEM: 1.0,
    EventType.SEARCH: 1.0,
    EventType.ADD_TO_CART: 3.0,
    EventType.PURCHASE: 5.0,
}
_WEIGHT: Final = np.array([_KIND_WEIGHT.get(kind, 0.0) for kind in KINDS], np.float32)
_FARTHEST_DAYS: Final = 1024  # after so many days nothing is left
_DECAY: Final = np.exp2(-np.arange(_FARTHEST_DAYS + 1) / HALF_LIFE_DAYS).astype(np.float32)


def says_something(events: Events) -> np.ndarray:
    """Which events tell of a favourite: bool (N,)."""
    return (_WEIGHT[events.kind] > 0) & ((events.item != b"") | (events.category != b""))


def like(header: np.ndarray, events: Events, day: np.ndarray) -> None:
    """Add one event per user (no user twice) of local days `day` (N,) to the favourites in `header`, in place.

    Events that say nothing are left out before.
    """
    day, rows = day.astype(np.int32), events.row
    known = header["affinity_day"][rows]
    newest = np.maximum(known, day)
    decay = _decay(np.where(known == NO_DAY, 0, newest - known))
    added = _WEIGHT[events.kind] * _decay(newest - day)
    header["affinity_day"][rows] = newest
    for kept, name in (("categories", events.category), ("items", events.item)):
        raw(header[kept])[rows] = raw(_strengthened(gathered(header[kept], rows), decay, name, added))


def _decay(days: np.ndarray) -> np.ndarray:
    return _DECAY[np.minimum(days, _FARTHEST_DAYS)]


def _strengthened(favourites: np.ndarray, decay: np.ndarray, name: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Favourites (N, K), heaviest first, after a decay (N,) and one more name (N,), or none, of weight `added` (N,)."""
    weight = favourites["weight"] * decay[:, None]
    is_named = name != b""
    is_it = (favourites["name"] == name[:, None]) & is_named[:, None]
    weight += np.where(is_it, added[:, None], np.float32(0))
    is_new = is_named & ~is_it.any(axis=1)
    enters = is_new & (added >= weight[:, -1])
    weight[:, -1] = np.where(enters, added, weight[:, -1] - np.where(is_new, added, np.float32(0)))
    favourites["name"][enters, -1] = name[enters]
    is_left = weight >= FORGOTTEN
    favourites["name"] = np.where(is_left, favourites["name"], b"")
    favourites["weight"] = np.where(is_left, weight, np.float32(0))
    order = np.lexsort((favourites["name"], -favourites["weight"]), axis=1)
    return np.take_along_axis(favourites, order, axis=1)
