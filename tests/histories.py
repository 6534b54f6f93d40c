"""What tests of the pure core share: events in a line each, and an engine with a curve that can be worked out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from consumer.core.alerts import Evidence
from consumer.core.baseline import Baseline
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.drift import Drift
from consumer.core.events import ERASE, KIND_OF, KINDS, Events
from consumer.core.features import TOKEN_SIZE
from consumer.core.fold import FoldRules, Target, fold
from consumer.core.outcomes import OutcomeRules, Outcomes
from consumer.core.packing import pack, unpack
from consumer.core.policy import Policy, PolicyRules
from consumer.core.state import BINS, NO_TIME, States, empty_states
from consumer.ports import Scorer
from consumer.scoring import Engine, Findings
from schemas.event import EventType
from support import KnownCurve, WholeHistory, remembering

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
DAY_0 = 19_737  # 2024-01-15, a Monday
START_MS = DAY_0 * DAY_MS


@dataclass(frozen=True)
class Happened:
    """One event of user number `user`; no kind: the user is erased."""

    kind: EventType | None
    at_ms: int
    user: int = 0
    event_id: int | None = None  # None: one of its own
    value: float = 0.0
    discount: float = 0.0
    dwell_s: float = 0.0
    sentiment: float = float("nan")
    coupon: bool = False
    item: str = ""
    category: str = ""
    language: str = ""


def day(number: float) -> int:
    """The instant so many days after the start (2024-01-15 00:00 UTC)."""
    return START_MS + round(number * DAY_MS)


def columns(history: Sequence[Happened], first_id: int = 1_000) -> Events:
    """The events as the fold takes them; those without an id get the numbers from `first_id` on, tombstones 0."""
    given = [first_id + position if each.event_id is None else each.event_id for position, each in enumerate(history)]
    ids = [0 if each.kind is None else event_id for each, event_id in zip(history, given, strict=True)]
    kinds = [ERASE if each.kind is None else KIND_OF[each.kind] for each in history]
    return Events(
        np.array([each.user for each in history], np.int64),
        np.array([each.at_ms for each in history], np.int64),
        np.array(kinds, np.int8),
        np.array(ids, np.uint64),
        np.array([each.value for each in history], np.float64),
        np.array([each.discount for each in history], np.float64),
        np.array([each.dwell_s for each in history], np.float64),
        np.array([each.sentiment for each in history], np.float64),
        np.array([each.coupon for each in history], np.bool_),
        np.array([each.item.encode() for each in history], "S32"),
        np.array([each.category.encode() for each in history], "S32"),
        np.array([each.language.encode() for each in history], "S4"),
    )


def folded(history: Sequence[Happened], rules: FoldRules | None = None, users: int = 1) -> States:
    """The states that a history leaves."""
    states = empty_states(users)
    fold(states, columns(history), rules or fold_rules())
    return states


def random_states(users: int = 120, events: int = 2_000, seed: int = 7) -> States:
    """Users with anything from one event to more active days than are kept."""
    rng = np.random.default_rng(seed)
    share = rng.exponential(size=users) ** 3
    states = empty_states(users)
    fold(
        states,
        Events(
            row=rng.choice(users, size=events, p=share / share.sum()),
            time_ms=np.sort(rng.integers(0, 200 * DAY_MS, size=events)),
            kind=rng.integers(0, len(KINDS), size=events).astype(np.int8),
            id_hash=rng.integers(1, 2**63, size=events).astype(np.uint64),
            value=rng.gamma(1.0, 30.0, size=events),
            discount=rng.gamma(1.0, 3.0, size=events),
            dwell_s=rng.gamma(1.0, 60.0, size=events),
            sentiment=np.where(rng.random(events) < 0.9, np.nan, rng.uniform(-1, 1, size=events)),
            coupon=rng.random(events) < 0.1,
            item=rng.choice([b"", b"lamp", b"chair", b"a-name-of-exactly-thirty-2-bytes"], events).astype("S32"),
            category=rng.choice([b"", b"light", b"seats"], events).astype("S32"),
            language=rng.choice([b"", b"en", b"zh"], events).astype("S4"),
        ),
        fold_rules(),
    )
    return states.take(np.flatnonzero(states.header["days"]))


def fold_rules(timezone: str = "UTC", target: Target = "purchase", max_lateness_ms: int = DAY_MS) -> FoldRules:
    """Fold rules by name."""
    return FoldRules(Calendar(timezone), target, max_lateness_ms)


def user_days(states: States, row: int = 0) -> list[dict[str, float]]:
    """A user's days as dictionaries, oldest first."""
    count = int(states.header["days"][row])
    names = states.days.dtype.names or ()
    return [dict(zip(names, each.tolist(), strict=True)) for each in states.days[row, :count]]


# With `KnownCurve` the churn probability of a calm user is exp(-(1.63 - 0.19 s)) after s <= 7 days of silence and
# 0.74 from then on: it reaches 0.5 after 4.93 days and 0.7 after 6.70. After a refund it is 0.97 at once.
FOLLOW_ALERTS = OutcomeRules(horizon_days=30.0, share=0.0)
RULES = PolicyRules(thresholds=(0.5, 0.7), rearm=0.45, horizon_days=30.0, grace_days=0.0)
BASELINE = Baseline(churn_probability=0.4, gap_days=4.0, long_gap_days=6.0)
AT_RISK_AFTER_DAYS = (1.63 + np.log(0.5)) / 0.19
CRITICAL_AFTER_DAYS = (1.63 + np.log(0.7)) / 0.19


def engine(
    rules: PolicyRules = RULES,
    scorer: Scorer | None = None,
    timezone: str = "UTC",
    target: Target = "purchase",
    outcome_rules: OutcomeRules = FOLLOW_ALERTS,
    drift: Drift | None = None,
) -> Engine:
    """An engine over `KnownCurve`, or over another scorer."""
    folding = fold_rules(timezone, target)
    policy = Policy(rules, folding.calendar)
    return Engine(folding, policy, remembering(scorer or KnownCurve()), outcome_rules, BASELINE, drift=drift)


class Moody(WholeHistory):
    """A scorer whose curve depends on every token of the history, without regard to sense."""

    version = "moody"

    def __init__(self) -> None:
        generator = np.random.default_rng(7)
        self._weights = generator.normal(0.0, 0.7, (TOKEN_SIZE, BINS))
        self._base = generator.normal(-3.5, 0.5, BINS)

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        history = tokens.astype(np.float64).sum(axis=1) / lengths[:, None]
        return (self._base + 2.0 * np.sin(np.einsum("bf,fk->bk", history, self._weights))).astype(np.float32)


@dataclass(frozen=True)
class Told:
    """An alert, as plain values."""

    user: int
    at_ms: int
    tier: int
    cause: int
    probability: float
    anchor_id: int
    episode_ms: int


def told(evidence: Iterable[Evidence]) -> list[Told]:
    """What was decided, in order."""
    return [
        Told(
            int(part.decisions.row[index]),
            int(part.decisions.at_ms[index]),
            int(part.decisions.tier[index]),
            int(part.decisions.cause[index]),
            float(part.decisions.probability[index]),
            int(part.decisions.anchor_id[index]),
            int(part.decisions.episode_ms[index]),
        )
        for part in evidence
        for index in range(len(part.decisions))
    ]


@dataclass
class Run:
    """An engine and the packed states of some users, fed bit by bit as the service does."""

    engine: Engine
    users: int = 1

    def __post_init__(self) -> None:
        self.packed: list[bytes | None] = [b""] * self.users
        self.alerts: list[Told] = []
        self.outcomes: list[Outcomes] = []
        self._next_id = 1_000

    @property
    def states(self) -> States:
        """The states as stored."""
        return unpack(self.packed)

    def events(self, *history: Happened) -> list[Told]:
        """One batch of events; returns its alerts."""
        states = self.states
        before_ms = np.full(len(history), NO_TIME)
        entries = self.engine.scorer.cache.entries([str(each) for each in range(self.users)])
        events = columns(history, self._next_id)
        _, found = self.engine.on_events(states, events, before_ms, entries=entries)
        self._next_id += len(history)
        return self._done(states, found)

    def silence(self, until_ms: int) -> list[Told]:
        """One tick of the timers; returns its alerts."""
        states = self.states
        found = self.engine.on_silence(states, np.arange(self.users), np.full(self.users, until_ms))
        return self._done(states, found)

    def _done(self, states: States, found: Findings) -> list[Told]:
        self.packed = list(pack(states))
        self.outcomes += found.outcomes
        alerts = told(found.alerts)
        self.alerts += alerts
        return alerts


def on_events(machine: Engine, states: States, events: Events) -> list[Evidence]:
    """The alerts of some events, at which no time had passed for others."""
    return machine.on_events(states, events, np.full(len(events), NO_TIME))[1].alerts


def on_silence(machine: Engine, states: States, rows: np.ndarray, until_ms: np.ndarray) -> list[Evidence]:
    """The alerts of the timers that are due by then."""
    return machine.on_silence(states, rows, until_ms).alerts
