"""Which categories and items a user likes: recency-weighted, the few with the most weight.

Every view, search, cart and purchase adds to the weight of its category and item, and all weights halve every 30 days.
There is room for a few, heaviest first. A newcomer takes the weakest one's place if it weighs at least as much;
otherwise its weight is taken off the weakest, so that what comes up again and again gets in (the vote of Boyer & Moore
1991, "MJRTY: a fast majority vote algorithm", for the last place). No weight is more than what the user did.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.events import KINDS, Events, rounds
from consumer.core.state import FAVOURITE, FAVOURITE_CATEGORIES, FAVOURITE_ITEMS, NAME_BYTES, NO_DAY, gathered, raw
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
_KEPT: Final = {"categories": FAVOURITE_CATEGORIES, "items": FAVOURITE_ITEMS}
_PLACES: Final = max(_KEPT.values())
_FARTHEST_DAYS: Final = 1024  # after so many days nothing is left
_DECAY: Final = np.exp2(-np.arange(_FARTHEST_DAYS + 1) / HALF_LIFE_DAYS).astype(np.float32)


def says_something(events: Events) -> np.ndarray:
    """Which events tell of a favourite: bool (N,)."""
    return (_WEIGHT[events.kind] > 0) & ((events.item != b"") | (events.category != b""))


def like(header: np.ndarray, rows: np.ndarray, day: np.ndarray, events: Events, run: np.ndarray) -> None:
    """Add events to the favourites of users (no user twice) in `header`, in place, one after the other.

    `rows` (R,) says who had something happen on which local `day` (R,), and `run` (N,) which of them each event is
    of; everybody has one, and a user's are in order. Events that say nothing are left out before.
    """
    busiest = np.argsort(-np.bincount(run), kind="stable")  # so that those who have a next event are the first ones
    place = np.empty(len(rows), np.int64)
    place[busiest] = np.arange(len(rows))
    in_order = np.argsort(place[run], kind="stable")
    rows, day, run, events = rows[busiest], day[busiest].astype(np.int32), place[run[in_order]], events.take(in_order)
    known = header["affinity_day"][rows]
    newest = np.maximum(known, day)
    header["affinity_day"][rows] = newest
    kept = _Favourites.of(header, rows, _decay(np.where(known == NO_DAY, 0, newest - known)))
    added = _WEIGHT[events.kind] * _decay(newest - day)[run]
    name = np.stack((events.category, events.item), axis=1)
    for index in rounds(run):
        kept.strengthen(name[index], added[index])
    kept.put(header, rows)


def _decay(days: np.ndarray) -> np.ndarray:
    return _DECAY[np.minimum(days, _FARTHEST_DAYS)]


@dataclass(frozen=True)
class _Favourites:
    """Of R users, categories and items side by side and heaviest first; categories begin after places never to lose."""

    name: np.ndarray  # S32 (R, 2, _PLACES)
    weight: np.ndarray  # float32 (R, 2, _PLACES)

    @classmethod
    def of(cls, header: np.ndarray, rows: np.ndarray, decay: np.ndarray) -> "_Favourites":
        """After a decay (R,)."""
        name = np.zeros((len(rows), len(_KEPT), _PLACES), f"S{NAME_BYTES}")
        weight = np.full(name.shape, np.inf, np.float32)
        for sort, (kept, places) in enumerate(_KEPT.items()):
            favourites = gathered(header[kept], rows)
            name[:, sort, -places:] = favourites["name"]
            weight[:, sort, -places:] = favourites["weight"] * decay[:, None]
        return cls(name, weight)

    def put(self, header: np.ndarray, rows: np.ndarray) -> None:
        """Write them back."""
        for sort, (kept, places) in enumerate(_KEPT.items()):
            favourites = np.empty((len(rows), places), FAVOURITE)
            favourites["name"], favourites["weight"] = self.name[:, sort, -places:], self.weight[:, sort, -places:]
            raw(header[kept])[rows] = raw(favourites)

    def strengthen(self, name: np.ndarray, added: np.ndarray) -> None:
        """One more name (n, 2) of each sort, or none, of weight `added` (n,), for the first n users, in place."""
        names, weight = self.name[: len(name)], self.weight[: len(name)]
        is_named = name != b""
        is_it = (names == name[..., None]) & is_named[..., None]
        weight += np.where(is_it, added[:, None, None], np.float32(0))
        is_new = is_named & ~is_it.any(axis=2)
        added, last = added[:, None], weight[..., -1]
        enters = is_new & (added >= last)
        weight[..., -1] = np.where(enters, added, last - np.where(is_new, added, np.float32(0)))
        names[enters, -1] = name[enters]
        is_lost = weight < FORGOTTEN
        names[is_lost], weight[is_lost] = b"", 0
        order = np.lexsort((names, -weight), axis=2)
        order += np.arange(len(name) * len(_KEPT)).reshape(-1, len(_KEPT), 1) * _PLACES
        names[:], weight[:] = names.ravel()[order], weight.ravel()[order]
