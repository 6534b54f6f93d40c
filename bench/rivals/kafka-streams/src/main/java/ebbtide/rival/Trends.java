package ebbtide.rival;

import static ebbtide.rival.UserState.*;

/** Decayed sums of a customer's whole history, in float32 as in consumer/core/trends.py. */
final class Trends {
    private static final int[] HALF_LIVES_DAYS = {14, 60, 240};
    private static final int FARTHEST_DAYS = 8192; // after so many days nothing is left
    private static final float[] DECAYS = new float[(FARTHEST_DAYS + 1) * 3];

    static {
        for (int days = 0; days <= FARTHEST_DAYS; days++) {
            for (int each = 0; each < 3; each++) {
                DECAYS[days * 3 + each] = (float) Math.pow(2.0, -days / (double) HALF_LIVES_DAYS[each]);
            }
        }
    }

    private Trends() {}

    /** Trends at `from`, `gapDays` later and with what the day in `slot` adds, to `to`. */
    static void advance(float[] source, int from, long gapDays, UserState state, int slot, float[] target, int to) {
        int decay = (int) Math.max(0, Math.min(gapDays, FARTHEST_DAYS)) * 3;
        float bought = state.counts[slot * COUNTS + PURCHASES] > 0 ? 1f : 0f;
        float logSpend = Tokens.log1p(state.sums[slot * SUMS + SPEND]);
        for (int each = 0; each < 3; each++) {
            float share = DECAYS[decay + each];
            target[to + each] = source[from + each] * share + bought;
            target[to + 3 + each] = source[from + 3 + each] * share + 1f;
            target[to + 6 + each] = source[from + 6 + each] * share + logSpend;
        }
    }
}
