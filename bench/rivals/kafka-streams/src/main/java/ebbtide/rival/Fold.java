package ebbtide.rival;

import static ebbtide.rival.UserState.*;

import java.util.Arrays;

/** (state, event) to state: consumer/core/fold.py, one event at a time. */
final class Fold {
    static final long DAY_MS = 86_400_000L;
    private static final long SESSION_GAP_MS = 30 * 60 * 1000L;
    private static final long MAX_LATENESS_MS = DAY_MS;
    private static final double NEGATIVE_SENTIMENT = -0.2;
    private static final double SUM_UNITS = 1e4;
    private static final int[] COUNTED_AS = new int[15]; // a kind's place in `counts`; -1: only among the events

    static {
        Arrays.fill(COUNTED_AS, -1);
        COUNTED_AS[Event.VIEW_ITEM] = VIEWS;
        COUNTED_AS[Event.SEARCH] = SEARCHES;
        COUNTED_AS[Event.ADD_TO_CART] = CART_ADDS;
        COUNTED_AS[Event.REMOVE_FROM_CART] = CART_REMOVALS;
        COUNTED_AS[Event.BEGIN_CHECKOUT] = CHECKOUTS;
        COUNTED_AS[Event.PURCHASE] = PURCHASES;
        COUNTED_AS[Event.REFUND] = REFUNDS;
        COUNTED_AS[Event.REVIEW] = REVIEWS;
        COUNTED_AS[Event.SUPPORT_TICKET] = TICKETS;
        COUNTED_AS[Event.EMAIL_OPEN] = EMAIL_OPENS;
        COUNTED_AS[Event.CAMPAIGN_RECEIVED] = CAMPAIGN_CONTACTS;
        COUNTED_AS[Event.UNSUBSCRIBE] = UNSUBSCRIBES;
    }

    private Fold() {}

    /** False for a duplicate and for what comes too late: nothing has changed. */
    static boolean fold(UserState state, Event event) {
        if (isDuplicate(state, event.idHash)) {
            return false;
        }
        if (state.lastMs != NO_TIME && event.timeMs < state.lastMs - MAX_LATENESS_MS) {
            return false;
        }
        int slot = openDay(state, (int) Math.floorDiv(event.timeMs, DAY_MS));
        if (slot < 0) {
            return false;
        }
        add(state, event, slot);
        return true;
    }

    private static boolean isDuplicate(UserState state, long idHash) {
        for (int at = 0; at < Math.min(state.events, RECENT_IDS); at++) {
            if (state.recentIds[at] == idHash) {
                return true;
            }
        }
        return false;
    }

    /** Slot of the event's day, made where missing; -1 where it is older than all 64 days that are kept. */
    private static int openDay(UserState state, int day) {
        if (state.days > 0 && day == state.lastDay()) {
            return state.days - 1;
        }
        int found = state.days == 0 || day > state.lastDay() ? -state.days - 1
                : Arrays.binarySearch(state.day, 0, state.days, day);
        if (found >= 0) {
            return found;
        }
        int slot = -found - 1;
        if (state.days == MAX_DAYS) {
            if (slot == 0) {
                return -1;
            }
            evictOldest(state);
            slot--;
        }
        state.insertDay(slot, day);
        return slot;
    }

    private static void evictOldest(UserState state) {
        Trends.advance(state.evictedTrends, 0, (long) state.day[0] - state.evictedDay, state, 0, state.evictedTrends, 0);
        state.evictedDay = state.day[0];
        if (state.counts[PURCHASES] > 0) {
            state.evictedPurchaseDay = state.day[0];
        }
        state.dropOldest();
    }

    private static void add(UserState state, Event event, int slot) {
        int counts = slot * COUNTS;
        state.counts[counts + EVENTS]++;
        if (state.lastMs == NO_TIME || event.timeMs - state.lastMs > SESSION_GAP_MS) {
            state.counts[counts + SESSIONS]++;
        }
        if (COUNTED_AS[event.kind] >= 0) {
            state.counts[counts + COUNTED_AS[event.kind]]++;
        }
        if (event.kind == Event.COUPON_REDEMPTION || event.kind == Event.PURCHASE && event.coupon) {
            state.counts[counts + COUPONS]++;
        }
        boolean hasOpinion = !Double.isNaN(event.sentiment);
        if (hasOpinion) {
            state.counts[counts + OPINIONS]++;
            if (event.sentiment < NEGATIVE_SENTIMENT) {
                state.counts[counts + NEGATIVE_TEXTS]++;
            }
        }
        int sums = slot * SUMS;
        grow(state.sums, sums + SPEND, event.kind == Event.PURCHASE ? event.value : 0.0);
        grow(state.sums, sums + REFUNDED, event.kind == Event.REFUND ? event.value : 0.0);
        grow(state.sums, sums + DISCOUNT, event.discount);
        grow(state.sums, sums + DWELL_S, event.dwellS);
        grow(state.sums, sums + SENTIMENT, hasOpinion ? event.sentiment : 0.0);
        state.firstMs = state.firstMs == NO_TIME ? event.timeMs : Math.min(state.firstMs, event.timeMs);
        state.lastMs = Math.max(state.lastMs, event.timeMs);
        state.events++;
        if (event.kind == Event.PURCHASE) {
            state.targetEvents++;
        }
        state.recentIds[state.nextId] = event.idHash;
        state.nextId = (state.nextId + 1) % RECENT_IDS;
        state.tokensDone = Math.min(state.tokensDone, slot);
    }

    /** Sums are kept to 1e-4. */
    private static void grow(double[] sums, int at, double added) {
        if (added != 0.0) {
            sums[at] = Math.rint((sums[at] + added) * SUM_UNITS) / SUM_UNITS + 0.0;
        }
    }
}
