package dev.domicile.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import java.util.concurrent.Executor;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** The channel under every stub: it gives calls a deadline, a request_id, attempts, the way home and typed errors. */
final class Calls extends Channel {
    private final Options options;
    private final Homes homes;
    private final Retrier retrier;
    private final ScheduledExecutorService timers;
    private final Executor executor;

    /** @param executor runs what calls without an executor of their own tell, off the timers' thread */
    Calls(Options options, Homes homes, ScheduledExecutorService timers, Executor executor) {
        this.options = options;
        this.homes = homes;
        this.retrier = new Retrier(options.maxAttempts());
        this.timers = timers;
        this.executor = executor;
    }

    @Override
    public <Q, A> ClientCall<Q, A> newCall(MethodDescriptor<Q, A> method, CallOptions callOptions) {
        CallOptions own = callOptions.getExecutor() == null ? callOptions.withExecutor(executor) : callOptions;
        return method.getType() == MethodDescriptor.MethodType.UNARY
                ? new UnaryCall<>(this, method, bounded(own))
                : new StreamCall<>(this, method, own);
    }

    private CallOptions bounded(CallOptions callOptions) {
        return deadline(callOptions) == null
                ? callOptions.withDeadlineAfter(options.timeout().toNanos(), TimeUnit.NANOSECONDS)
                : callOptions;
    }

    /** The deadline of a call that this thread makes now, or null. */
    static Deadline deadline(CallOptions callOptions) {
        Deadline of = callOptions.getDeadline();
        Deadline around = Context.current().getDeadline();
        return of == null || around != null && around.isBefore(of) ? around : of;
    }

    @Override
    public String authority() {
        return options.serverName().isEmpty() ? options.address() : options.serverName();
    }

    Homes homes() {
        return homes;
    }

    Retrier retrier() {
        return retrier;
    }

    ScheduledExecutorService timers() {
        return timers;
    }
}
