package ebbtide.rival;

/** A decoded event; one object is used again and again. */
final class Event {
    static final int VIEW_ITEM = 0, SEARCH = 1, ADD_TO_CART = 2, REMOVE_FROM_CART = 3, BEGIN_CHECKOUT = 4, PURCHASE = 5,
            REFUND = 6, SESSION_START = 7, REVIEW = 8, SUPPORT_TICKET = 9, EMAIL_OPEN = 10, EMAIL_CLICK = 11,
            CAMPAIGN_RECEIVED = 12, COUPON_REDEMPTION = 13, UNSUBSCRIBE = 14, UNKNOWN = -1;

    int kind;
    long timeMs;
    long idHash;
    double value;
    double discount;
    double dwellS;
    double sentiment; // NaN where no opinion was given
    boolean coupon;

    void clear() {
        kind = UNKNOWN;
        timeMs = -1;
        idHash = 0;
        value = discount = dwellS = 0.0;
        sentiment = Double.NaN;
        coupon = false;
    }

    /** Whether it says what it is and when it was. */
    boolean isWhole() {
        return kind != UNKNOWN && timeMs >= 0;
    }

    static int kindOf(String name) {
        return switch (name) {
            case "view_item" -> VIEW_ITEM;
            case "search" -> SEARCH;
            case "add_to_cart" -> ADD_TO_CART;
            case "remove_from_cart" -> REMOVE_FROM_CART;
            case "begin_checkout" -> BEGIN_CHECKOUT;
            case "purchase" -> PURCHASE;
            case "refund" -> REFUND;
            case "session_start" -> SESSION_START;
            case "review" -> REVIEW;
            case "support_ticket" -> SUPPORT_TICKET;
            case "email_open" -> EMAIL_OPEN;
            case "email_click" -> EMAIL_CLICK;
            case "campaign_received" -> CAMPAIGN_RECEIVED;
            case "coupon_redemption" -> COUPON_REDEMPTION;
            case "unsubscribe" -> UNSUBSCRIBE;
            default -> UNKNOWN;
        };
    }
}
