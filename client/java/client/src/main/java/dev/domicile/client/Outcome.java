package dev.domicile.client;

import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;

/** Collects what one attempt at a unary call comes to. */
final class Outcome<A> extends ClientCall.Listener<A> {
    private final ClientCall<?, A> call;
    private final MethodDescriptor<?, A> method;
    private final Taker<A> taker;
    private Metadata headers;
    private Metadata trailers;
    private A message;

    /** Takes what an attempt came to; the error is null when it succeeded. */
    @FunctionalInterface
    interface Taker<A> {
        void take(Outcome<A> outcome, CallException error);
    }

    Outcome(ClientCall<?, A> call, MethodDescriptor<?, A> method, Taker<A> taker) {
        this.call = call;
        this.method = method;
        this.taker = taker;
    }

    @Override
    public void onHeaders(Metadata headers) {
        this.headers = headers;
    }

    @Override
    public void onMessage(A message) {
        this.message = message;
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
        this.trailers = trailers;
        taker.take(this, status.isOk() ? null : Failures.of(status, trailers, method.getFullMethodName()));
    }

    Metadata trailers() {
        return trailers;
    }

    /** Whether there was a connection to make the attempt on. */
    boolean reached() {
        return isConnected(call);
    }

    static boolean isConnected(ClientCall<?, ?> call) {
        return call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR) != null;
    }

    /** Hands on an attempt that succeeded. */
    void give(ClientCall.Listener<A> to) {
        if (headers != null) {
            to.onHeaders(headers);
        }
        if (message != null) {
            to.onMessage(message);
        }
        to.onClose(Status.OK, trailers);
    }
}
