package dev.domicile.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.PreconditionFailure;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** Makes this package's exceptions of what gRPC says of a call that ended badly. */
final class Failures {
    /** Whose reasons are a gateway's. */
    private static final String DOMAIN = "residency";

    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
    private static final Metadata.Key<String> DECISION =
            Metadata.Key.of("residency-decision-id", Metadata.ASCII_STRING_MARSHALLER);

    private ErrorInfo info; // null unless of a gateway
    private NeededConsent consent;
    private final List<Violation> violations = new ArrayList<>();
    private Duration retryAfter = Duration.ZERO;

    private Failures() {}

    /** The identifier of the decision over a call, or empty. */
    static String decisionId(Metadata metadata) {
        String id = metadata == null ? null : metadata.get(DECISION);
        return id == null ? "" : id;
    }

    /** What a call came to that ended with a status other than OK. */
    static CallException of(Status status, Metadata trailers, String method) {
        if (status.getCause() instanceof CallException already) {
            return already;
        }
        Failures details = new Failures();
        details.read(trailers);
        String decision = details.fact("decision_id");
        if (decision.isEmpty()) {
            decision = decisionId(trailers);
        }
        if (details.info != null && status.getCode() == Status.Code.PERMISSION_DENIED && isPolicy(details.info.getReason())) {
            return new DeniedException(
                    status, trailers, decision, details.info.getReason(), details.info.getMetadataMap(), details.consent);
        }
        return details.failure(status, trailers, decision, method);
    }

    /** Whether a reason for PERMISSION_DENIED is the policy's: neither the caller's standing nor the way that the call took. */
    private static boolean isPolicy(String reason) {
        return !reason.equals("CALLER_NOT_PERMITTED") && !reason.equals("USE_HOME_ENDPOINT");
    }

    private GatewayException failure(Status status, Metadata trailers, String decision, String method) {
        TlsFailure tls =
                status.getCode() == Status.Code.UNAVAILABLE && info == null ? Handshake.failure(status.getCause()) : null;
        String reason = info == null ? "" : info.getReason();
        return new GatewayException(new GatewayException.Parts(
                status, trailers, decision, method, reason, List.copyOf(violations), retryAfter, fact("endpoint"), tls, null));
    }

    private String fact(String name) {
        return info == null ? "" : info.getMetadataOrDefault(name, "");
    }

    private void read(Metadata trailers) {
        byte[] raw = trailers.get(DETAILS);
        if (raw == null) {
            return;
        }
        try {
            for (Any any : com.google.rpc.Status.parseFrom(raw).getDetailsList()) {
                read(any);
            }
        } catch (InvalidProtocolBufferException e) {
            return; // the status itself still says what happened
        }
    }

    private void read(Any any) throws InvalidProtocolBufferException {
        if (any.is(ErrorInfo.class)) {
            ErrorInfo said = any.unpack(ErrorInfo.class);
            info = said.getDomain().equals(DOMAIN) ? said : info;
        } else if (any.is(PreconditionFailure.class)) {
            consent = NeededConsent.in(any.unpack(PreconditionFailure.class)).orElse(consent);
        } else if (any.is(BadRequest.class)) {
            any.unpack(BadRequest.class).getFieldViolationsList()
                    .forEach(v -> violations.add(new Violation(v.getField(), v.getDescription())));
        } else if (any.is(RetryInfo.class)) {
            com.google.protobuf.Duration d = any.unpack(RetryInfo.class).getRetryDelay();
            retryAfter = Duration.ofSeconds(d.getSeconds(), d.getNanos());
        }
    }

    /** A refusal that names another endpoint, or null. */
    static GatewayException sentElsewhere(CallException error) {
        return error instanceof GatewayException e
                        && e.code() == Status.Code.PERMISSION_DENIED
                        && e.reason().equals("USE_HOME_ENDPOINT")
                ? e
                : null;
    }

    /** Whether gRPC gave a call this code by itself, without a gateway's word. */
    static boolean isOwn(Throwable error, Status.Code code) {
        return error instanceof GatewayException e && e.reason().isEmpty() && e.code() == code;
    }
}
