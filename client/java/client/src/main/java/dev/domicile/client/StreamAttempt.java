package dev.domicile.client;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;

/** A stream as it is opened at one place; tells what comes of it to the call that it is an attempt at. */
final class StreamAttempt<Q, A> extends ClientCall.Listener<A> {
    private final StreamCall<Q, A> of;
    private final ClientCall<Q, A> call;
    private final Place at;
    private volatile Metadata headers; // null until they have come

    StreamAttempt(StreamCall<Q, A> of, ClientCall<Q, A> call, Place at) {
        this.of = of;
        this.call = call;
        this.at = at;
    }

    void start(Metadata metadata, int requested, Q first) {
        call.start(this, metadata);
        if (requested > 0) {
            call.request(requested);
        }
        if (first != null) {
            call.sendMessage(first);
        }
    }

    ClientCall<Q, A> call() {
        return call;
    }

    Place at() {
        return at;
    }

    Metadata headers() {
        return headers;
    }

    boolean isConnected() {
        return Outcome.isConnected(call);
    }

    @Override
    public void onHeaders(Metadata headers) {
        this.headers = headers;
        of.headers(this);
    }

    @Override
    public void onReady() {
        of.ready(this);
    }

    @Override
    public void onMessage(A message) {
        of.message(this, message);
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
        of.closed(this, status, trailers);
    }
}
