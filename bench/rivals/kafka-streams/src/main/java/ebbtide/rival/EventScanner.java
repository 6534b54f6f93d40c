package ebbtide.rival;

import java.nio.charset.StandardCharsets;

/**
 * A flat JSON object of plain strings and numbers to an {@link Event}, in one pass and with nothing built.
 *
 * Whatever else JSON allows (escapes, exponents, nesting, booleans) it leaves to {@link EventParser}, which asks Jackson.
 */
final class EventScanner {
    private static final double[] POWERS_OF_TEN = new double[16];

    static {
        for (int power = 0; power < POWERS_OF_TEN.length; power++) {
            POWERS_OF_TEN[power] = Double.parseDouble("1e" + power);
        }
    }

    private byte[] json;
    private int at;
    private double number; // the last one
    private long whole; // its digits, without the point
    private boolean isWhole;

    /** False where this is no object for it; `event` is spoilt then. */
    boolean scan(byte[] value, Event event) {
        json = value;
        at = 0;
        try {
            return fields(event);
        } catch (ArrayIndexOutOfBoundsException cutShort) {
            return false;
        }
    }

    private boolean fields(Event event) {
        double stars = Double.NaN;
        boolean hasId = false;
        if (token() != '{') {
            return false;
        }
        byte next;
        do {
            if (token() != '"') {
                return false;
            }
            int name = at, nameEnd = string();
            if (nameEnd < 0 || token() != ':') {
                return false;
            }
            byte first = token();
            if (first == '"') {
                int text = at, end = string();
                if (end < 0) {
                    return false;
                }
                if (is(name, nameEnd, EVENT_ID)) {
                    event.idHash = EventParser.hash(json, text, end - text);
                    hasId = true;
                } else if (is(name, nameEnd, EVENT_TYPE)) {
                    event.kind = Event.kindOf(new String(json, text, end - text, StandardCharsets.ISO_8859_1));
                } else if (is(name, nameEnd, COUPON)) {
                    event.coupon = true;
                } else if (is(name, nameEnd, OCCURRED_AT)) {
                    return false;
                }
            } else {
                if (!number(first)) {
                    return false;
                }
                if (is(name, nameEnd, OCCURRED_AT)) {
                    if (!isWhole) {
                        return false;
                    }
                    event.timeMs = whole;
                } else if (is(name, nameEnd, VALUE)) {
                    event.value = number;
                } else if (is(name, nameEnd, DWELL_MS)) {
                    event.dwellS = number / 1000.0;
                } else if (is(name, nameEnd, RATING)) {
                    stars = number;
                } else if (is(name, nameEnd, DISCOUNT)) {
                    event.discount = number;
                } else if (is(name, nameEnd, SENTIMENT)) {
                    event.sentiment = number;
                }
            }
            next = token();
        } while (next == ',');
        EventParser.takeStars(event, stars);
        return next == '}' && hasId && event.isWhole();
    }

    private static final byte[] EVENT_ID = ascii("event_id"), EVENT_TYPE = ascii("event_type"),
            OCCURRED_AT = ascii("occurred_at"), VALUE = ascii("value"), DWELL_MS = ascii("dwell_ms"),
            RATING = ascii("rating"), DISCOUNT = ascii("discount"), SENTIMENT = ascii("sentiment"),
            COUPON = ascii("coupon");

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    private boolean is(int from, int to, byte[] name) {
        if (to - from != name.length) {
            return false;
        }
        for (int each = 0; each < name.length; each++) {
            if (json[from + each] != name[each]) {
                return false;
            }
        }
        return true;
    }

    /** The next byte that is not white space. */
    private byte token() {
        byte next = json[at++];
        while (next == ' ' || next == '\n' || next == '\r' || next == '\t') {
            next = json[at++];
        }
        return next;
    }

    /** From behind its opening quote to behind the closing one; where it ends, or -1 if it is not plain ASCII. */
    private int string() {
        byte[] bytes = json;
        int here = at;
        byte next = bytes[here];
        while (next != '"') {
            if (next == '\\' || next < ' ') { // negative: beyond ASCII
                return -1;
            }
            next = bytes[++here];
        }
        at = here + 1;
        return here;
    }

    /** A number of at most 15 digits, so that digits and power of ten are exact and their quotient is rounded once. */
    private boolean number(byte first) {
        boolean isNegative = first == '-';
        byte next = isNegative ? json[at++] : first;
        int digits = 0, decimals = -1;
        long value = 0;
        for (; next >= '0' && next <= '9' || next == '.' && decimals < 0; next = json[at++]) {
            if (next == '.') {
                decimals = 0;
                continue;
            }
            value = value * 10 + (next - '0');
            digits++;
            decimals += decimals >= 0 ? 1 : 0;
        }
        at--;
        if (digits == 0 || digits > 15 || decimals == 0 || next != ',' && next != '}' && next > ' ') {
            return false;
        }
        isWhole = decimals < 0;
        whole = isNegative ? -value : value;
        number = isWhole ? whole : whole / POWERS_OF_TEN[decimals];
        return true;
    }
}
