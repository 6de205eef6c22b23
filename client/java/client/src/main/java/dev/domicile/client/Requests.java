package dev.domicile.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.DescriptorProtos.MethodOptions.IdempotencyLevel;
import com.google.protobuf.Message;
import dev.domicile.residency.v1.WriteDriveHeader;
import dev.domicile.residency.v1.WriteDriveRequest;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoMethodDescriptorSupplier;
import java.util.UUID;

/**
 * What a request says of the call that it makes. Which calls may be repeated the protos say of every method
 * (idempotency_level): one that changes nothing but the audit log, and one that is idempotent once its request has a
 * request_id. Whatever is neither is never repeated: a disclosure, of which each call is one.
 */
final class Requests {
    private Requests() {}

    /** A request to send, and whether it may be sent more than once. */
    record Repeatable<Q>(Q request, boolean safe) {}

    /** Gives a request a request_id, in a copy, where the method wants one and the caller set none. */
    static <Q> Repeatable<Q> repeatable(MethodDescriptor<Q, ?> method, Q request) {
        return switch (level(method)) {
            case NO_SIDE_EFFECTS -> new Repeatable<>(request, true);
            case IDEMPOTENT -> withRequestId(request);
            default -> new Repeatable<>(request, false);
        };
    }

    private static IdempotencyLevel level(MethodDescriptor<?, ?> method) {
        return method.getSchemaDescriptor() instanceof ProtoMethodDescriptorSupplier s
                ? s.getMethodDescriptor().getOptions().getIdempotencyLevel()
                : IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
    }

    @SuppressWarnings("unchecked") // a copy of a message is of its type
    private static <Q> Repeatable<Q> withRequestId(Q request) {
        FieldDescriptor field =
                request instanceof Message m ? m.getDescriptorForType().findFieldByName("request_id") : null;
        if (field == null || field.getJavaType() != FieldDescriptor.JavaType.STRING) {
            return new Repeatable<>(request, false);
        }
        Message m = (Message) request;
        if (m.getField(field).equals("")) {
            m = m.toBuilder().setField(field, UUID.randomUUID().toString()).build();
        }
        return new Repeatable<>((Q) m, true);
    }

    /** Gives the header of a drive write a request_id when it has none. */
    @SuppressWarnings("unchecked") // as above
    static <Q> Q withHeaderRequestId(Q message) {
        if (!(message instanceof WriteDriveRequest w) || !w.hasHeader() || !w.getHeader().getRequestId().isEmpty()) {
            return message;
        }
        return (Q) WriteDriveRequest.newBuilder().setHeader(withRequestId(w.getHeader()).request()).build();
    }

    /** Gives a header a request_id when it has none. */
    static WriteDriveHeader identified(WriteDriveHeader header) {
        return withRequestId(header).request();
    }

    /** The tenant that a request is about; empty when it names none. */
    static String tenant(Object request) {
        if (request instanceof WriteDriveRequest w) {
            return w.getHeader().getTenantId();
        }
        FieldDescriptor field =
                request instanceof Message m ? m.getDescriptorForType().findFieldByName("tenant_id") : null;
        return field != null && ((Message) request).getField(field) instanceof String tenant ? tenant : "";
    }
}
