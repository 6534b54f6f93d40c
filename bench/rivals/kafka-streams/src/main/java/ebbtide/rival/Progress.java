package ebbtide.rival;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;

/** What has been processed and committed, and what it has cost so far. */
final class Progress {
    private record Mark(long events, long wallNs, long cpuNs) {}

    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final long wanted;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final ThreadLocal<long[]> uncommitted = ThreadLocal.withInitial(() -> new long[1]);
    private volatile long processed;
    private long committed;
    private volatile Mark begin;
    private volatile Mark half;
    private Mark end;

    Progress(long wanted) {
        this.wanted = wanted;
    }

    /** One more record; called by stream threads. */
    void processed() {
        if (begin == null) {
            begin();
        }
        uncommitted.get()[0]++;
        if (processed < wanted) { // with more threads than one a count may get lost, which only delays the end
            processed++;
            if (processed == wanted / 2) {
                half = mark(processed);
            }
        }
    }

    private synchronized void begin() {
        if (begin == null) {
            begin = mark(0);
        }
    }

    boolean isDone() {
        return processed >= wanted;
    }

    /** Everything that this thread has processed is durable now. */
    synchronized void committed() {
        long[] mine = uncommitted.get();
        if (mine[0] == 0 || end != null) {
            return;
        }
        committed += mine[0];
        mine[0] = 0;
        if (committed >= wanted) {
            end = mark(committed);
            ended.countDown();
        }
    }

    private static Mark mark(long events) {
        return new Mark(events, System.nanoTime(), SYSTEM.getProcessCpuTime());
    }

    void await() throws InterruptedException {
        ended.await();
    }

    String report() throws IOException {
        return String.format(
                Locale.ROOT,
                "{\"events\": %d, \"wall_s\": %.3f, \"cpu_s\": %.3f, \"rss_mb\": %.1f,"
                        + " \"events_after_half\": %d, \"wall_s_after_half\": %.3f, \"cpu_s_after_half\": %.3f}",
                end.events, (end.wallNs - begin.wallNs) / 1e9, (end.cpuNs - begin.cpuNs) / 1e9, peakMb(),
                end.events - half.events, (end.wallNs - half.wallNs) / 1e9, (end.cpuNs - half.cpuNs) / 1e9);
    }

    private static double peakMb() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) / 1024.0;
            }
        }
        return Double.NaN;
    }
}
