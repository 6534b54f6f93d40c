package ebbtide.rival;

import ai.onnxruntime.OrtException;
import java.util.ArrayList;
import java.util.List;

/**
 * Micro-batches for the network, of all tasks of one stream thread together, by length of history.
 *
 * A run costs about as much as 30 more tokens, and the cost of a token is least while a run's rows fit in the
 * processor's cache: so a bucket runs as soon as it holds about `RUN_TOKENS`, and what is left in small buckets moves
 * to the next longer one where the padding costs less than a run.
 */
final class Scorer {
    private static final int RUN_TOKENS = Integer.getInteger("rival.runTokens", 1024);
    private static final int RUN_COSTS_TOKENS = 30;
    private final Bucket[] bucketOf = new Bucket[UserState.MAX_DAYS + 1];
    private final List<Bucket> buckets = new ArrayList<>();
    private final boolean isBatched;
    private int waiting;

    Scorer(Model model, boolean isBatched) {
        this.isBatched = isBatched;
        int begin = 1;
        for (int length = 1; length <= UserState.MAX_DAYS; length += isBatched ? step(length) : 1) {
            Bucket bucket = new Bucket(model, length, isBatched ? Math.max(8, RUN_TOKENS / length) : 1);
            buckets.add(bucket);
            for (; begin <= length; begin++) {
                bucketOf[begin] = bucket;
            }
        }
    }

    private static int step(int length) {
        return length < 16 ? 1 : length < 32 ? 2 : 4;
    }

    void add(Pending event) throws OrtException {
        Tokens.refresh(event.state);
        Bucket bucket = bucketOf[event.state.days];
        bucket.add(event);
        waiting++;
        if (bucket.rows == bucket.capacity) {
            run(bucket);
        }
    }

    int waiting() {
        return waiting;
    }

    /** Nobody waits for a score any more. */
    void runAll() throws OrtException {
        for (int each = 0; waiting > 0; each++) {
            Bucket bucket = buckets.get(each);
            Bucket next = isBatched ? nextWithRows(each) : null;
            if (bucket.rows == 0) {
                continue;
            }
            if (next != null && bucket.rows * (next.length - bucket.length) < RUN_COSTS_TOKENS
                    && next.rows + bucket.rows <= next.capacity) {
                bucket.moveTo(next);
            } else {
                run(bucket);
            }
        }
    }

    private Bucket nextWithRows(int after) {
        for (int each = after + 1; each < buckets.size(); each++) {
            if (buckets.get(each).rows > 0) {
                return buckets.get(each);
            }
        }
        return null;
    }

    private void run(Bucket bucket) throws OrtException {
        waiting -= bucket.rows;
        bucket.run();
    }
}
