package dev.domicile.client;

import com.google.rpc.PreconditionFailure;
import java.util.Optional;

/**
 * What a consent has to cover for a refused call to be permitted.
 *
 * @param kind for example {@code BORDER_CROSSING}
 * @param dataClass for example {@code PERSONAL_INFORMATION}
 * @param purpose for example {@code PAYMENTS}; empty where the call has no purpose
 * @param from the jurisdiction that it leads from
 * @param to the jurisdiction that it leads to
 */
public record NeededConsent(String kind, String dataClass, String purpose, String from, String to) {

    /**
     * Reads the subject of a CONSENT violation: kind, data class, purpose ("UNSPECIFIED" where the call has none),
     * "→" between two jurisdictions.
     */
    static Optional<NeededConsent> in(PreconditionFailure failure) {
        return failure.getViolationsList().stream()
                .filter(v -> v.getType().equals("CONSENT"))
                .flatMap(v -> parse(v.getSubject()).stream())
                .findFirst();
    }

    private static Optional<NeededConsent> parse(String subject) {
        String[] f = subject.trim().split("\\s+");
        int n = f.length;
        if (n < 5 || n > 6 || !f[n - 2].equals("→")) {
            return Optional.empty();
        }
        String purpose = n == 6 && !f[2].equals("UNSPECIFIED") ? f[2] : "";
        return Optional.of(new NeededConsent(f[0], f[1], purpose, f[n - 3], f[n - 1]));
    }
}
