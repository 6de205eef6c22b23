package dev.domicile.client;

import io.grpc.CallOptions;
import io.grpc.stub.AbstractStub;

/**
 * What the client tells of a call, permitted or not. Make one for each call:
 *
 * <pre>{@code
 * CallInfo info = new CallInfo();
 * info.on(client.records()).getRecord(request);
 * info.decisionId();
 * }</pre>
 *
 * <p>It is filled before the call returns or fails; for a stream before its first message is there.
 */
public final class CallInfo {
    private static final CallOptions.Key<CallInfo> KEY = CallOptions.Key.create("dev.domicile.client.CallInfo");

    private volatile String decisionId = "";
    private volatile String endpoint = "";

    /** Makes one that knows nothing yet. */
    public CallInfo() {}

    /**
     * Says under which identifier the audit log has the decision over the call.
     *
     * @return the identifier; empty for calls that are not decided, such as those for policies
     */
    public String decisionId() {
        return decisionId;
    }

    /**
     * Says where the call was taken to, because a gateway named it as the tenant's home.
     *
     * @return {@code host:port}; empty = the client's own address
     */
    public String endpoint() {
        return endpoint;
    }

    /**
     * Gives a stub whose calls fill this.
     *
     * @param <S> the stub's type
     * @param stub any stub on one of this client's channels
     * @return the stub
     */
    public <S extends AbstractStub<S>> S on(S stub) {
        return stub.withOption(KEY, this);
    }

    /**
     * Gives call options that let a call fill this.
     *
     * @param options other options
     * @return the options
     */
    public CallOptions in(CallOptions options) {
        return options.withOption(KEY, this);
    }

    static void tellDecision(CallOptions options, String id) {
        CallInfo info = options.getOption(KEY);
        if (info != null && !id.isEmpty()) {
            info.decisionId = id;
        }
    }

    static void tellEndpoint(CallOptions options, String endpoint) {
        CallInfo info = options.getOption(KEY);
        if (info != null) {
            info.endpoint = endpoint;
        }
    }
}
