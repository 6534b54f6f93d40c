package ebbtide.rival;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.internals.CacheFlushListener;
import org.apache.kafka.streams.state.internals.CachedStateStore;

/**
 * What the record cache of Kafka Streams is, for states ready for use: least recently used, written back at commits.
 *
 * A task asks it to flush before its offsets are committed, as it asks the record cache. That is when waiting events
 * are decided and changed states go, each once, to the persistent store and its changelog. (The record cache keeps
 * bytes, which would be unpacked and packed again at every event.)
 */
final class UserCache implements StateStore, CachedStateStore<Bytes, byte[]> {
    static final String NAME = "user-cache";
    private static final int MAX_DAYS_KEPT = Integer.getInteger("rival.cacheDays", 400_000);

    private final StateCodec codec = new StateCodec();
    private final LinkedHashMap<Bytes, UserState> users = new LinkedHashMap<>(1024, 0.75f, true);
    private final List<UserState> changed = new ArrayList<>();
    private KeyValueStore<Bytes, byte[]> store;
    private Runnable beforeCommit = () -> {};
    private int daysKept;
    private boolean open;

    void connect(KeyValueStore<Bytes, byte[]> store, Runnable beforeCommit) {
        this.store = store;
        this.beforeCommit = beforeCommit;
    }

    /** A state that is about to change. */
    UserState forChange(Bytes user) {
        UserState state = users.get(user);
        if (state == null) {
            byte[] value = store.get(user);
            state = value == null ? new UserState(1) : codec.unpack(value);
            state.user = user;
            users.put(user, state);
        }
        if (!state.dirty) {
            state.dirty = true;
            changed.add(state);
        }
        return state;
    }

    int changedUsers() {
        return changed.size();
    }

    /** To the persistent store; then those go, clean now, that were not used for longest. */
    void writeBack() {
        for (UserState state : changed) {
            state.dirty = false;
            daysKept += state.days - state.daysCounted;
            state.daysCounted = state.days;
            if (state.events > 0) {
                store.put(state.user, codec.pack(state));
            }
        }
        changed.clear();
        evict();
    }

    private void evict() {
        if (daysKept <= MAX_DAYS_KEPT) {
            return;
        }
        Iterator<UserState> eldest = users.values().iterator();
        while (daysKept > MAX_DAYS_KEPT && eldest.hasNext()) {
            daysKept -= eldest.next().daysCounted;
            eldest.remove();
        }
    }

    @Override
    public void flushCache() {
        beforeCommit.run();
    }

    @Override
    public void clearCache() {
        users.clear();
        changed.clear();
        daysKept = 0;
    }

    @Override
    public boolean setFlushListener(CacheFlushListener<Bytes, byte[]> listener, boolean sendOldValues) {
        return false; // nothing downstream wants changes of states
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public void init(StateStoreContext context, StateStore root) {
        clearCache(); // a task that has failed is begun anew with the same store
        context.register(root, (key, value) -> {});
        open = true;
    }

    @Override
    public void close() {
        clearCache();
        open = false;
    }

    @Override
    public boolean persistent() {
        return false;
    }

    @Override
    public boolean isOpen() {
        return open;
    }

    static StoreBuilder<UserCache> builder() {
        return new Builder();
    }

    private static final class Builder implements StoreBuilder<UserCache> {
        @Override
        public StoreBuilder<UserCache> withCachingEnabled() {
            return this;
        }

        @Override
        public StoreBuilder<UserCache> withCachingDisabled() {
            return this;
        }

        @Override
        public StoreBuilder<UserCache> withLoggingEnabled(Map<String, String> config) {
            return this;
        }

        @Override
        public StoreBuilder<UserCache> withLoggingDisabled() {
            return this;
        }

        @Override
        public UserCache build() {
            return new UserCache();
        }

        @Override
        public Map<String, String> logConfig() {
            return Map.of();
        }

        @Override
        public boolean loggingEnabled() {
            return false;
        }

        @Override
        public String name() {
            return NAME;
        }
    }
}
