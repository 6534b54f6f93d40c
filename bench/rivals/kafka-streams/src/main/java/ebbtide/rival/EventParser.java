package ebbtide.rival;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;

/** Bytes to an {@link Event}: what {@link EventScanner} cannot read, Jackson's streaming parser does. */
final class EventParser {
    private final JsonFactory factory = new JsonFactory();
    private final EventScanner scanner = new EventScanner();

    /** False for what is no event, which is skipped. */
    boolean parse(byte[] value, Event event) {
        if (value == null) {
            return false;
        }
        event.clear();
        if (scanner.scan(value, event)) {
            return true;
        }
        event.clear();
        try (JsonParser parser = factory.createParser(value)) {
            return parser.nextToken() == JsonToken.START_OBJECT && fields(parser, event);
        } catch (IOException | RuntimeException malformed) {
            return false;
        }
    }

    private static boolean fields(JsonParser parser, Event event) throws IOException {
        double stars = Double.NaN;
        boolean hasId = false;
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            JsonToken token = parser.nextToken();
            if (token == JsonToken.VALUE_NULL) {
                continue;
            }
            switch (name) {
                case "event_id" -> {
                    byte[] id = parser.getText().getBytes(StandardCharsets.UTF_8);
                    event.idHash = hash(id, 0, id.length);
                    hasId = true;
                }
                case "event_type" -> event.kind = Event.kindOf(parser.getText());
                case "occurred_at" -> event.timeMs = token == JsonToken.VALUE_NUMBER_INT
                        ? parser.getLongValue()
                        : OffsetDateTime.parse(parser.getText()).toInstant().toEpochMilli();
                case "value" -> event.value = parser.getDoubleValue();
                case "discount" -> event.discount = parser.getDoubleValue();
                case "dwell_ms" -> event.dwellS = parser.getDoubleValue() / 1000.0;
                case "rating" -> stars = parser.getDoubleValue();
                case "sentiment" -> event.sentiment = parser.getDoubleValue();
                case "coupon" -> event.coupon = true;
                default -> {
                    if (token.isStructStart()) {
                        parser.skipChildren();
                    }
                }
            }
        }
        takeStars(event, stars);
        return hasId && event.isWhole();
    }

    static void takeStars(Event event, double stars) {
        if (Double.isNaN(event.sentiment) && !Double.isNaN(stars)) {
            event.sentiment = Math.max(-1.0, (stars - 3.0) / 2.0);
        }
    }

    /** 64 bits of an id: a multiplication and a shift for each byte, and murmur's finaliser. */
    static long hash(byte[] text, int from, int length) {
        long hash = 0x9E3779B97F4A7C15L ^ length;
        for (int at = from; at < from + length; at++) {
            hash = (hash ^ text[at]) * 0xFF51AFD7ED558CCDL;
            hash ^= hash >>> 32;
        }
        hash *= 0xC4CEB9FE1A85EC53L;
        return hash ^ (hash >>> 33);
    }
}
