package ebbtide.rival;

import static ebbtide.rival.UserState.*;

/** State to model input: consumer/core/features.py, `tokens`; only of days that have changed since they were asked for. */
final class Tokens {
    static final int SIZE = 36;
    // Places in `counts` of what is a token's first part, in order: all but the opinions.
    private static final int[] LOG_COUNTS = {
        EVENTS, SESSIONS, VIEWS, SEARCHES, CART_ADDS, CART_REMOVALS, CHECKOUTS, PURCHASES, REFUNDS, REVIEWS,
        NEGATIVE_TEXTS, TICKETS, EMAIL_OPENS, CAMPAIGN_CONTACTS, COUPONS, UNSUBSCRIBES
    };
    private static final float[] LOG1P = new float[4096];
    private static final float[] WEEKDAY_SIN = new float[7], WEEKDAY_COS = new float[7];

    static {
        for (int each = 0; each < LOG1P.length; each++) {
            LOG1P[each] = (float) Math.log1p(each);
        }
        for (int each = 0; each < 7; each++) {
            WEEKDAY_SIN[each] = (float) Math.sin(each * (2 * Math.PI / 7));
            WEEKDAY_COS[each] = (float) Math.cos(each * (2 * Math.PI / 7));
        }
    }

    private Tokens() {}

    static float log1p(double value) {
        return value == 0.0 ? 0f : (float) Math.log1p(value);
    }

    private static float log1p(int count) {
        return count < LOG1P.length ? LOG1P[count] : (float) Math.log1p(count);
    }

    /** Bring `state.tokens` up to date. */
    static void refresh(UserState state) {
        for (int slot = state.tokensDone; slot < state.days; slot++) {
            refresh(state, slot);
        }
        state.tokensDone = state.days;
    }

    private static void refresh(UserState state, int slot) {
        int day = state.day[slot];
        int previousDay = slot == 0 ? state.evictedDay : state.day[slot - 1];
        int previousPurchase = slot == 0 ? state.evictedPurchaseDay : state.purchaseDay[slot - 1];
        int gap = previousDay == NO_DAY ? -1 : day - previousDay;
        int purchaseGap = previousPurchase == NO_DAY ? -1 : day - previousPurchase;
        int counts = slot * COUNTS, sums = slot * SUMS, trends = slot * TRENDS, at = slot * SIZE;
        state.purchaseDay[slot] = state.counts[counts + PURCHASES] > 0 ? day : previousPurchase;
        if (slot == 0) {
            Trends.advance(state.evictedTrends, 0, gap, state, slot, state.trends, trends);
        } else {
            Trends.advance(state.trends, trends - TRENDS, gap, state, slot, state.trends, trends);
        }
        float[] token = state.tokens;
        for (int place : LOG_COUNTS) {
            token[at++] = log1p(state.counts[counts + place]);
        }
        for (int each = SPEND; each <= DWELL_S; each++) {
            token[at++] = log1p(state.sums[sums + each]);
        }
        token[at++] = log1p(Math.max(gap, 0));
        token[at++] = log1p(Math.max(purchaseGap, 0));
        for (int each = 0; each < TRENDS; each++) {
            token[at++] = log1p((double) state.trends[trends + each]);
        }
        token[at++] = (float) (state.sums[sums + SENTIMENT] / Math.max(state.counts[counts + OPINIONS], 1));
        token[at++] = gap < 0 ? 1f : 0f;
        token[at++] = purchaseGap < 0 ? 1f : 0f;
        token[at++] = WEEKDAY_SIN[Math.floorMod(day, 7)];
        token[at] = WEEKDAY_COS[Math.floorMod(day, 7)];
    }
}
