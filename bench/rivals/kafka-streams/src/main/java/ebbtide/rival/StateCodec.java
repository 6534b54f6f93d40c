package ebbtide.rival;

import static ebbtide.rival.UserState.*;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;

/** A state as one small value: variable-length integers, and of each day only what is not zero. Not thread-safe. */
final class StateCodec {
    private static final byte LAYOUT = 1;
    private static final double SUM_UNITS = 1e4;
    private static final long EXACT = 1L << 52; // a double tells apart all integers up to here
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle INT = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

    private byte[] bytes = new byte[64 * 1024]; // a state has at most 64 days of at most 22 numbers of 10 bytes
    private int at;

    byte[] pack(UserState state) {
        at = 0;
        bytes[at++] = LAYOUT;
        bytes[at++] = (byte) state.days;
        bytes[at++] = (byte) state.nextId;
        bytes[at++] = (byte) state.alertedTier;
        putLong(state.firstMs);
        putVarint(state.lastMs - state.firstMs);
        putVarint(state.events);
        putVarint(state.targetEvents);
        for (int each = 0; each < Math.min(state.events, RECENT_IDS); each++) {
            putLong(state.recentIds[each]);
        }
        bytes[at++] = (byte) (state.evictedDay == NO_DAY ? 0 : 1);
        if (state.evictedDay != NO_DAY) {
            putInt(state.evictedDay);
            putInt(state.evictedPurchaseDay);
            for (float each : state.evictedTrends) {
                putInt(Float.floatToRawIntBits(each));
            }
        }
        int previous = 0;
        for (int slot = 0; slot < state.days; slot++) {
            putVarint(state.day[slot] - previous);
            previous = state.day[slot];
            packDay(state, slot * COUNTS, slot * SUMS);
        }
        return Arrays.copyOf(bytes, at);
    }

    private void packDay(UserState state, int counts, int sums) {
        int present = 0;
        for (int each = 0; each < COUNTS; each++) {
            present |= state.counts[counts + each] != 0 ? 1 << each : 0;
        }
        for (int each = 0; each < SUMS; each++) {
            present |= state.sums[sums + each] != 0.0 ? 1 << COUNTS + each : 0;
        }
        putVarint(present);
        for (int left = present; left != 0; left &= left - 1) {
            int place = Integer.numberOfTrailingZeros(left);
            if (place < COUNTS) {
                putVarint(state.counts[counts + place]);
            } else {
                putSum(state.sums[sums + place - COUNTS]);
            }
        }
    }

    UserState unpack(byte[] value) {
        bytes = value.length > bytes.length ? new byte[value.length] : bytes;
        System.arraycopy(value, 0, bytes, 0, value.length);
        if (bytes[0] != LAYOUT) {
            throw new IllegalStateException("a stored state has the unknown layout " + bytes[0]);
        }
        int days = bytes[1];
        UserState state = new UserState(Math.min(MAX_DAYS, days + 2));
        state.days = days;
        state.nextId = bytes[2];
        state.alertedTier = bytes[3];
        at = 4;
        state.firstMs = getLong();
        state.lastMs = state.firstMs + getVarint();
        state.events = getVarint();
        state.targetEvents = getVarint();
        for (int each = 0; each < Math.min(state.events, RECENT_IDS); each++) {
            state.recentIds[each] = getLong();
        }
        if (bytes[at++] != 0) {
            state.evictedDay = getInt();
            state.evictedPurchaseDay = getInt();
            for (int each = 0; each < TRENDS; each++) {
                state.evictedTrends[each] = Float.intBitsToFloat(getInt());
            }
        }
        int previous = 0;
        for (int slot = 0; slot < days; slot++) {
            state.day[slot] = previous += (int) getVarint();
            unpackDay(state, slot * COUNTS, slot * SUMS);
        }
        return state;
    }

    private void unpackDay(UserState state, int counts, int sums) {
        for (int left = (int) getVarint(); left != 0; left &= left - 1) {
            int place = Integer.numberOfTrailingZeros(left);
            if (place < COUNTS) {
                state.counts[counts + place] = (int) getVarint();
            } else {
                state.sums[sums + place - COUNTS] = getSum();
            }
        }
    }

    /** Sums are whole numbers of 1e-4, or else, marked by a 1, doubles. */
    private void putSum(double sum) {
        double units = Math.rint(sum * SUM_UNITS);
        if (Math.abs(units) < EXACT && units / SUM_UNITS == sum) {
            long whole = (long) units;
            putVarint((whole << 1 ^ whole >> 63) << 1);
        } else {
            putVarint(1);
            putLong(Double.doubleToRawLongBits(sum));
        }
    }

    private double getSum() {
        long marked = getVarint();
        if ((marked & 1) != 0) {
            return Double.longBitsToDouble(getLong());
        }
        long zigzag = marked >>> 1;
        return (zigzag >>> 1 ^ -(zigzag & 1)) / SUM_UNITS;
    }

    private void putVarint(long value) {
        while ((value & ~0x7FL) != 0) {
            bytes[at++] = (byte) (value | 0x80);
            value >>>= 7;
        }
        bytes[at++] = (byte) value;
    }

    private long getVarint() {
        byte next = bytes[at++];
        long value = next & 0x7F;
        for (int shift = 7; next < 0; shift += 7) {
            next = bytes[at++];
            value |= (next & 0x7FL) << shift;
        }
        return value;
    }

    private void putLong(long value) {
        LONG.set(bytes, at, value);
        at += 8;
    }

    private long getLong() {
        at += 8;
        return (long) LONG.get(bytes, at - 8);
    }

    private void putInt(int value) {
        INT.set(bytes, at, value);
        at += 4;
    }

    private int getInt() {
        at += 4;
        return (int) INT.get(bytes, at - 4);
    }
}
