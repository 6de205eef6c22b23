package dev.domicile.client;

import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Optional;

/** A call that failed: a {@link DeniedException} or a {@link GatewayException}. It holds no personal information. */
public abstract sealed class CallException extends RuntimeException permits DeniedException, GatewayException {
    private static final long serialVersionUID = 1;

    private final transient Status status;
    private final transient Metadata trailers;
    private final String decisionId;

    CallException(String message, Throwable cause, Status status, Metadata trailers, String decisionId) {
        super(message, cause);
        this.status = status;
        this.trailers = trailers;
        this.decisionId = decisionId;
    }

    /**
     * Gives the gRPC status as it came.
     *
     * @return the status
     */
    public Status status() {
        return status;
    }

    /**
     * Gives the trailers as they came.
     *
     * @return the trailers
     */
    public Metadata trailers() {
        return trailers;
    }

    /**
     * Says under which identifier the audit log has the decision.
     *
     * @return the identifier, or empty when nothing was decided
     */
    public String decisionId() {
        return decisionId;
    }

    /**
     * Finds the failure of a call in an exception or its causes. Blocking stubs throw it itself; gRPC's futures,
     * stream observers and iterators give a {@code StatusRuntimeException} that has it as its cause.
     *
     * @param thrown what was thrown or handed over
     * @return the failure, if it is one of a call
     */
    public static Optional<CallException> of(Throwable thrown) {
        for (Throwable t = thrown; t != null; t = t.getCause()) {
            if (t instanceof CallException e) {
                return Optional.of(e);
            }
        }
        return Optional.empty();
    }

    /** The status to hand to gRPC, which keeps this exception as its cause. */
    final Status asStatus() {
        return status.withCause(this);
    }
}
