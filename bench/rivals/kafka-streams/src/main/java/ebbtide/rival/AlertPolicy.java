package ebbtide.rival;

import java.nio.charset.StandardCharsets;
import java.util.Locale;

/** The alerts of JOB.md under bench/rivals/policy.toml. */
final class AlertPolicy {
    private static final String[] TIERS = {"at_risk", "critical"};
    private static final double[] THRESHOLDS = {0.73, 0.81};
    private static final double REARM = THRESHOLDS[0] - 0.05;

    private AlertPolicy() {}

    /** Tier to alert at, from 1; 0: none. The state's episode is opened, escalated or closed. */
    static int decide(Pending event) {
        UserState state = event.state;
        if (event.isPurchase || event.probability < REARM) {
            state.alertedTier = 0;
            return 0;
        }
        int reached = 0;
        while (reached < THRESHOLDS.length && event.probability >= THRESHOLDS[reached]) {
            reached++;
        }
        if (reached <= state.alertedTier || !event.hasBought) {
            return 0;
        }
        state.alertedTier = reached;
        return reached;
    }

    static byte[] alert(Pending event, int tier) {
        String user = new String(event.state.user.get(), StandardCharsets.UTF_8).replace("\\", "\\\\").replace("\"", "\\\"");
        return String.format(
                Locale.ROOT,
                "{\"user_id\":\"%s\",\"tier\":\"%s\",\"churn_probability\":%.9f,"
                        + "\"source\":{\"partition\":%d,\"offset\":%d}}",
                user, TIERS[tier - 1], event.probability, event.partition, event.offset)
                .getBytes(StandardCharsets.UTF_8);
    }
}
