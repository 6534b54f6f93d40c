package ebbtide.rival;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.time.OffsetDateTime;

/** Bytes to an {@link Event} with Jackson's streaming parser: strings that are not asked for are never built. */
final class EventParser {
    private final JsonFactory factory = new JsonFactory();

    /** False for what is no event, which is skipped. */
    boolean parse(byte[] value, Event event) {
        event.clear();
        if (value == null) {
            return false;
        }
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
                    event.idHash = hash(parser.getTextCharacters(), parser.getTextOffset(), parser.getTextLength());
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
        if (Double.isNaN(event.sentiment) && !Double.isNaN(stars)) {
            event.sentiment = Math.max(-1.0, (stars - 3.0) / 2.0);
        }
        return hasId && event.kind != Event.UNKNOWN && event.timeMs >= 0;
    }

    /** 64 bits of an id: a multiplication and a shift for each character, and murmur's finaliser. */
    static long hash(char[] text, int from, int length) {
        long hash = 0x9E3779B97F4A7C15L ^ length;
        for (int at = from; at < from + length; at++) {
            hash = (hash ^ text[at]) * 0xFF51AFD7ED558CCDL;
            hash ^= hash >>> 32;
        }
        hash *= 0xC4CEB9FE1A85EC53L;
        return hash ^ (hash >>> 33);
    }
}
