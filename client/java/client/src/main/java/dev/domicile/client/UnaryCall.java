package dev.domicile.client;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/**
 * A unary call: made where its tenant is at home as far as is known, once more where it is sent to, and again while the
 * gateway is not available and that is safe. Who listens hears of the last attempt alone.
 */
final class UnaryCall<Q, A> extends ClientCall<Q, A> {
    private final Calls calls;
    private final MethodDescriptor<Q, A> method;
    private final CallOptions options;
    private final Context context = Context.current();
    private final Deadline deadline;
    private final Context.CancellationListener contextEnded = c -> cancel("the context ended", c.cancellationCause());

    private Listener<A> listener;
    private Metadata headers;
    private Requests.Repeatable<Q> request;
    private String tenant = "";
    private int attempt;

    // Guarded by this.
    private ClientCall<Q, A> under; // the attempt that is made now, if any
    private ScheduledFuture<?> waiting; // for the next one
    private boolean cancelled;
    private boolean ended;

    UnaryCall(Calls calls, MethodDescriptor<Q, A> method, CallOptions options) {
        this.calls = calls;
        this.method = method;
        this.options = options;
        this.deadline = Calls.deadline(options);
    }

    @Override
    public void start(Listener<A> listener, Metadata headers) {
        this.listener = listener;
        this.headers = headers;
        context.addListener(contextEnded, Runnable::run);
    }

    @Override
    public void request(int messages) {} // there is one, and it is asked for

    @Override
    public void sendMessage(Q message) {
        request = Requests.repeatable(method, message);
        tenant = Requests.tenant(message);
    }

    @Override
    public void halfClose() {
        attempt();
    }

    private void attempt() {
        attempt++;
        Place at = calls.homes().start(tenant).place();
        make(at, (o, error) -> first(at, o, error));
    }

    private void make(Place at, Outcome.Taker<A> then) {
        ClientCall<Q, A> call;
        synchronized (this) {
            if (ended) {
                at.done();
                return;
            }
            waiting = null;
            call = at.channel().newCall(method, options);
            under = call;
        }
        Metadata copy = new Metadata();
        copy.merge(headers);
        context.run(() -> {
            call.start(new Outcome<>(call, method, (o, error) -> {
                at.done();
                then.take(o, error);
            }), copy);
            call.request(2); // one more than there may be, so that gRPC notices
            call.sendMessage(request.request());
            call.halfClose();
        });
        if (isCancelled()) { // while the attempt before was ending
            call.cancel("the call was cancelled", null);
        }
    }

    private synchronized boolean isCancelled() {
        return cancelled;
    }

    private void first(Place at, Outcome<A> o, CallException error) {
        calls.homes().learn(tenant, at, o.reached(), error);
        GatewayException refused = Failures.sentElsewhere(error);
        if (refused == null || !calls.homes().follows()) {
            settle(at, o, error);
            return;
        }
        Place to;
        try {
            to = calls.homes().next(at, refused);
        } catch (NoWayException why) {
            settle(at, o, refused.notFollowed(why));
            return;
        }
        make(to, (o2, error2) -> second(at, refused, to, o2, error2));
    }

    private void second(Place from, GatewayException refused, Place to, Outcome<A> o, CallException error) {
        if (!o.reached() && Failures.isOwn(error, Status.Code.UNAVAILABLE)) {
            settle(from, o, refused.notFollowed(error));
        } else {
            settle(to, o, calls.homes().arrived(tenant, to, error));
        }
    }

    /** Ends the call, or begins to wait for another attempt. */
    private void settle(Place at, Outcome<A> o, CallException error) {
        Optional<Duration> wait = calls.retrier().next(request.safe(), attempt, error, deadline);
        synchronized (this) {
            under = null;
            if (wait.isPresent() && !ended) {
                waiting = calls.timers().schedule(this::attempt, wait.get().toNanos(), TimeUnit.NANOSECONDS);
                return;
            }
        }
        finish(at.endpoint(), o, error);
    }

    private void finish(String endpoint, Outcome<A> o, CallException error) {
        if (!end()) {
            return;
        }
        CallInfo.tellEndpoint(options, endpoint);
        CallInfo.tellDecision(options, error == null ? Failures.decisionId(o.trailers()) : error.decisionId());
        if (error != null) {
            listener.onClose(error.asStatus(), error.trailers());
            return;
        }
        o.give(listener);
    }

    private synchronized boolean end() {
        if (ended) {
            return false;
        }
        ended = true;
        context.removeListener(contextEnded);
        return true;
    }

    @Override
    public void cancel(String message, Throwable cause) {
        ClientCall<Q, A> now;
        synchronized (this) {
            cancelled = true;
            now = under;
            if (waiting != null) {
                waiting.cancel(false);
            }
        }
        if (now != null) {
            now.cancel(message, cause); // its listener ends the call
        } else if (end()) {
            Status status = Status.CANCELLED.withDescription(message).withCause(cause);
            CallException error = Failures.of(status, new Metadata(), method.getFullMethodName());
            options.getExecutor().execute(() -> listener.onClose(error.asStatus(), error.trailers()));
        }
    }
}
