package dev.domicile.client;

import io.grpc.Metadata;
import io.grpc.Status;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The refusal of a call by the privacy policy in force: nothing was read or written, and repeating the call changes
 * nothing. It holds no personal information.
 */
public final class DeniedException extends CallException {
    private static final long serialVersionUID = 1;

    private final String reason;
    private final transient Map<String, String> facts;
    private final transient List<String> missing;
    private final transient NeededConsent consent;

    DeniedException(
            Status status, Metadata trailers, String decisionId, String reason, Map<String, String> facts, NeededConsent consent) {
        super(text(reason, facts, decisionId), status.getCause(), status, trailers, decisionId);
        this.reason = reason;
        this.facts = Map.copyOf(facts);
        this.missing = list(fact(facts, "missing"));
        this.consent = missing.isEmpty() ? null : consent; // what lacks nothing is refused whatever is consented
    }

    /**
     * Gives the reason.
     *
     * @return from the error catalogue, for example {@code CROSS_BORDER_CONSENT_REQUIRED}
     */
    public String reason() {
        return reason;
    }

    /**
     * Gives the clause that decided.
     *
     * @return its name; the product's own rules start with {@code product/}
     */
    public String clause() {
        return fact(facts, "clause");
    }

    /**
     * Gives the jurisdiction that the data is homed in.
     *
     * @return its code, or empty
     */
    public String from() {
        return fact(facts, "from");
    }

    /**
     * Gives the jurisdiction that the data would have reached.
     *
     * @return its code, or empty
     */
    public String to() {
        return fact(facts, "to");
    }

    /**
     * Gives the class of the data.
     *
     * @return for example {@code PERSONAL_INFORMATION}
     */
    public String dataClass() {
        return fact(facts, "data_class");
    }

    /**
     * Gives the requirements that were not met.
     *
     * @return their names, in the order in which they are checked
     */
    public List<String> missing() {
        return missing;
    }

    /**
     * Gives the consent that would permit the call.
     *
     * @return the consent, or nothing when none would
     */
    public Optional<NeededConsent> consent() {
        return Optional.ofNullable(consent);
    }

    private static String text(String reason, Map<String, String> facts, String decisionId) {
        StringBuilder b = new StringBuilder("denied: ").append(reason);
        add(b, "clause ", fact(facts, "clause"));
        add(b, "", way(fact(facts, "from"), fact(facts, "to")));
        add(b, "", fact(facts, "data_class"));
        add(b, "decision ", decisionId);
        return b.toString();
    }

    private static void add(StringBuilder to, String name, String value) {
        if (!value.isEmpty()) {
            to.append(", ").append(name).append(value);
        }
    }

    private static String way(String from, String to) {
        return from.isEmpty() || to.isEmpty() || from.equals(to) ? "" : from + " → " + to;
    }

    private static String fact(Map<String, String> facts, String name) {
        return facts.getOrDefault(name, "");
    }

    private static List<String> list(String text) {
        return text.isEmpty() ? List.of() : List.of(text.trim().split("\\s*,\\s*"));
    }
}
