package ebbtide.rival;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** The command line of JOB.md, and what can be tuned. */
record Options(
        String bootstrap, String input, String output, String group, Path model, long events, Path ready,
        boolean isBatched, boolean isExactlyOnce, int threads, int commitMs, int batchMs, int batchEvents,
        String compression) {

    static Options parse(String[] arguments) {
        Map<String, String> given = new HashMap<>();
        for (int each = 0; each + 1 < arguments.length; each += 2) {
            given.put(arguments[each], arguments[each + 1]);
        }
        boolean isBatched = oneOf(given, "--mode", "batched", "per-event").equals("batched");
        boolean isExactlyOnce = oneOf(given, "--delivery", "exactly_once", "at_least_once").equals("exactly_once");
        String ready = given.get("--ready");
        return new Options(
                needed(given, "--bootstrap"), needed(given, "--input"), needed(given, "--output"),
                needed(given, "--group"), Path.of(needed(given, "--model")), Long.parseLong(needed(given, "--events")),
                ready == null ? null : Path.of(ready), isBatched, isExactlyOnce,
                number(given, "--threads", 1), number(given, "--commit-ms", isExactlyOnce ? 100 : 30_000),
                number(given, "--batch-ms", 100), isBatched ? number(given, "--batch-events", 2000) : 1,
                given.getOrDefault("--compression", "lz4"));
    }

    private static String needed(Map<String, String> given, String name) {
        if (!given.containsKey(name)) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return given.get(name);
    }

    private static String oneOf(Map<String, String> given, String name, String first, String second) {
        String value = given.getOrDefault(name, first);
        if (!value.equals(first) && !value.equals(second)) {
            throw new IllegalArgumentException(name + " is " + first + " or " + second + ", not " + value);
        }
        return value;
    }

    private static int number(Map<String, String> given, String name, int otherwise) {
        return Integer.parseInt(given.getOrDefault(name, Integer.toString(otherwise)));
    }
}
