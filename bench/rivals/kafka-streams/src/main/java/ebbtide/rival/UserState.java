package ebbtide.rival;

import java.util.Arrays;
import org.apache.kafka.common.utils.Bytes;

/** One customer: a header and up to 64 active days, oldest first, as in consumer/core/state.py. */
final class UserState {
    static final int MAX_DAYS = 64, COUNTS = 17, SUMS = 5, TRENDS = 9, RECENT_IDS = 16;
    static final int NO_DAY = Integer.MIN_VALUE;
    static final long NO_TIME = -1;
    // Places in `counts` and `sums` of a day.
    static final int EVENTS = 0, SESSIONS = 1, VIEWS = 2, SEARCHES = 3, CART_ADDS = 4, CART_REMOVALS = 5, CHECKOUTS = 6,
            PURCHASES = 7, REFUNDS = 8, REVIEWS = 9, OPINIONS = 10, NEGATIVE_TEXTS = 11, TICKETS = 12, EMAIL_OPENS = 13,
            CAMPAIGN_CONTACTS = 14, COUPONS = 15, UNSUBSCRIBES = 16;
    static final int SPEND = 0, REFUNDED = 1, DISCOUNT = 2, DWELL_S = 3, SENTIMENT = 4;

    int days;
    int[] day;
    int[] counts; // (days, COUNTS)
    double[] sums; // (days, SUMS)
    int alertedTier;
    long firstMs = NO_TIME;
    long lastMs = NO_TIME;
    long events;
    long targetEvents;
    int nextId;
    final long[] recentIds = new long[RECENT_IDS];
    int evictedDay = NO_DAY;
    int evictedPurchaseDay = NO_DAY;
    float[] evictedTrends = new float[TRENDS];

    // What follows is not stored. A closed day's token never changes, so that it is worked out once and kept.
    float[] tokens; // (days, Tokens.SIZE)
    float[] trends; // (days, TRENDS)
    int[] purchaseDay; // the last one up to and including each day
    int tokensDone; // of how many days, from the oldest on, these three are right
    boolean dirty; // since the last commit
    int daysCounted; // by the cache
    Bytes user; // whose it is

    UserState(int capacity) {
        day = new int[capacity];
        counts = new int[capacity * COUNTS];
        sums = new double[capacity * SUMS];
        tokens = new float[capacity * Tokens.SIZE];
        trends = new float[capacity * TRENDS];
        purchaseDay = new int[capacity];
    }

    int lastDay() {
        return days == 0 ? NO_DAY : day[days - 1];
    }

    /** Room for one day at `slot`, blank; the later ones move up. */
    void insertDay(int slot, int newDay) {
        if (days == day.length) {
            grow(Math.min(MAX_DAYS, 2 * days));
        }
        int moved = days - slot;
        if (moved > 0) {
            System.arraycopy(day, slot, day, slot + 1, moved);
            System.arraycopy(counts, slot * COUNTS, counts, (slot + 1) * COUNTS, moved * COUNTS);
            System.arraycopy(sums, slot * SUMS, sums, (slot + 1) * SUMS, moved * SUMS);
        }
        day[slot] = newDay;
        Arrays.fill(counts, slot * COUNTS, (slot + 1) * COUNTS, 0);
        Arrays.fill(sums, slot * SUMS, (slot + 1) * SUMS, 0.0);
        days++;
        tokensDone = Math.min(tokensDone, slot);
    }

    /** The oldest day goes; its token and trends are needed no more. */
    void dropOldest() {
        int left = days - 1;
        System.arraycopy(day, 1, day, 0, left);
        System.arraycopy(counts, COUNTS, counts, 0, left * COUNTS);
        System.arraycopy(sums, SUMS, sums, 0, left * SUMS);
        System.arraycopy(tokens, Tokens.SIZE, tokens, 0, left * Tokens.SIZE);
        System.arraycopy(trends, TRENDS, trends, 0, left * TRENDS);
        System.arraycopy(purchaseDay, 1, purchaseDay, 0, left);
        days = left;
        tokensDone = Math.max(tokensDone - 1, 0);
    }

    private void grow(int capacity) {
        day = Arrays.copyOf(day, capacity);
        counts = Arrays.copyOf(counts, capacity * COUNTS);
        sums = Arrays.copyOf(sums, capacity * SUMS);
        tokens = Arrays.copyOf(tokens, capacity * Tokens.SIZE);
        trends = Arrays.copyOf(trends, capacity * TRENDS);
        purchaseDay = Arrays.copyOf(purchaseDay, capacity);
    }
}
