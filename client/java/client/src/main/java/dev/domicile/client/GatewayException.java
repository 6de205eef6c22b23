package dev.domicile.client;

import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/** Any failure of a call that is not a refusal by the privacy policy. It holds no personal information. */
public final class GatewayException extends CallException {
    private static final long serialVersionUID = 1;

    private final transient Parts parts;

    /** What such a failure is made of. */
    record Parts(
            Status status,
            Metadata trailers,
            String decisionId,
            String method,
            String reason,
            List<Violation> violations,
            Duration retryAfter,
            String endpoint,
            TlsFailure tls,
            Throwable notFollowed) {

        Parts withNotFollowed(Throwable why) {
            return new Parts(status, trailers, decisionId, method, reason, violations, retryAfter, endpoint, tls, why);
        }
    }

    GatewayException(Parts p) {
        super(text(p), p.notFollowed == null ? p.status.getCause() : p.notFollowed, p.status, p.trailers, p.decisionId);
        this.parts = p;
    }

    /** A copy that says why the client, which goes where a refusal sends it, has no answer from there. */
    GatewayException notFollowed(Throwable why) {
        return new GatewayException(parts.withNotFollowed(why));
    }

    /**
     * Gives the gRPC status code.
     *
     * @return the code
     */
    public Status.Code code() {
        return parts.status.getCode();
    }

    /**
     * Says which method was called.
     *
     * @return for example {@code residency.v1.RecordService/GetRecord}
     */
    public String method() {
        return parts.method;
    }

    /**
     * Gives the reason.
     *
     * @return from the error catalogue, for example {@code NOT_FOUND}; empty when the failure is not the gateway's,
     *     such as a lost connection
     */
    public String reason() {
        return parts.reason;
    }

    /**
     * Says what is wrong with the request.
     *
     * @return field by field
     */
    public List<Violation> violations() {
        return parts.violations;
    }

    /**
     * Says how long the gateway asks to wait before another attempt.
     *
     * @return the time; zero when it does not say
     */
    public Duration retryAfter() {
        return parts.retryAfter;
    }

    /**
     * Says, for USE_HOME_ENDPOINT, which gateway to call instead.
     *
     * @return its {@code host:port}, or empty
     */
    public String endpoint() {
        return parts.endpoint;
    }

    /**
     * Says why no secure connection came about.
     *
     * @return the cause, if it was that
     */
    public Optional<TlsFailure> tls() {
        return Optional.ofNullable(parts.tls);
    }

    /**
     * Says why the client, which goes to {@link #endpoint()} by itself, has no answer from there.
     *
     * @return the cause, or nothing when it did not try
     */
    public Optional<Throwable> notFollowed() {
        return Optional.ofNullable(parts.notFollowed);
    }

    /**
     * Says whether the same call may succeed later without anybody doing anything about it.
     *
     * @return whether it may
     */
    public boolean retryable() {
        if (parts.tls != null) {
            return false;
        }
        if (parts.notFollowed instanceof GatewayException there) {
            return there.retryable();
        }
        return switch (code()) {
            case UNAVAILABLE, RESOURCE_EXHAUSTED -> !parts.reason.equals("QUOTA_EXCEEDED");
            case ABORTED -> parts.reason.isEmpty();
            default -> false;
        };
    }

    private static String text(Parts p) {
        StringBuilder b = new StringBuilder(p.reason.isEmpty() ? p.status.getCode().name() : p.reason);
        if (p.status.getDescription() != null) {
            b.append(": ").append(firstLine(p.status.getDescription())); // gRPC adds its own workings below
        }
        p.violations.forEach(v -> b.append("; ").append(v.field()).append(": ").append(v.description()));
        if (!p.endpoint.isEmpty()) {
            b.append("; call ").append(p.endpoint);
        }
        if (p.notFollowed != null) {
            b.append(", which the client did not manage: ").append(p.notFollowed.getMessage());
        }
        if (!p.decisionId.isEmpty()) {
            b.append(" (decision ").append(p.decisionId).append(')');
        }
        return b.toString();
    }

    private static String firstLine(String text) {
        return text.lines().findFirst().orElse("");
    }
}
