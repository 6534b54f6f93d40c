package ebbtide.rival;

import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** For the check of parity: the tokens after every event of a log, one line `user<TAB>event` each, without Kafka. */
final class TokenDump {
    private TokenDump() {}

    /** For each line, as big-endian binary: 0 (not folded), or the number of days and that many tokens. */
    static void dump(Path log, Path target) throws IOException {
        Map<String, byte[]> users = new HashMap<>();
        EventParser parser = new EventParser();
        StateCodec codec = new StateCodec();
        Event event = new Event();
        try (DataOutputStream out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(target)))) {
            for (String line : Files.readAllLines(log)) {
                int tab = line.indexOf('\t');
                String user = line.substring(0, tab);
                byte[] stored = users.get(user);
                UserState state = stored == null ? new UserState(1) : codec.unpack(stored);
                Tokens.refresh(state); // so that some are kept and some worked out again, as in service
                boolean isEvent = parser.parse(line.substring(tab + 1).getBytes(StandardCharsets.UTF_8), event);
                if (!isEvent || !Fold.fold(state, event)) {
                    out.writeInt(0);
                    continue;
                }
                Tokens.refresh(state);
                out.writeInt(state.days);
                for (int at = 0; at < state.days * Tokens.SIZE; at++) {
                    out.writeFloat(state.tokens[at]);
                }
                users.put(user, codec.pack(state));
            }
        }
    }
}
