package ebbtide.rival;

/** An event that is folded and waits for its score and its decision. */
final class Pending {
    final UserState state;
    final boolean isPurchase;
    final boolean hasBought; // by then
    final int partition;
    final long offset;
    final long timestamp;
    double probability = Double.NaN;

    Pending(UserState state, boolean isPurchase, int partition, long offset, long timestamp) {
        this.state = state;
        this.isPurchase = isPurchase;
        this.hasBought = state.targetEvents > 0;
        this.partition = partition;
        this.offset = offset;
        this.timestamp = timestamp;
    }
}
