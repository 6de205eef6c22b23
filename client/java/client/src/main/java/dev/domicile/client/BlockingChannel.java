package dev.domicile.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * A channel for blocking stubs, whose unary calls throw this package's exceptions. gRPC's stubs make exceptions of
 * their own of whatever a call ends with, but let through what a call throws when its request is sent: so a unary call is
 * waited for right there.
 */
final class BlockingChannel extends Channel {
    private final Channel next;

    BlockingChannel(Channel next) {
        this.next = next;
    }

    @Override
    public <Q, A> ClientCall<Q, A> newCall(MethodDescriptor<Q, A> method, CallOptions options) {
        return method.getType() == MethodDescriptor.MethodType.UNARY
                ? new BlockingCall<>(next, method, options)
                : next.newCall(method, options);
    }

    @Override
    public String authority() {
        return next.authority();
    }

    private static final class BlockingCall<Q, A> extends ClientCall<Q, A> {
        private final Waiter waiter = new Waiter();
        private final ClientCall<Q, A> call;
        private final MethodDescriptor<Q, A> method;
        private Listener<A> listener;

        BlockingCall(Channel next, MethodDescriptor<Q, A> method, CallOptions options) {
            this.call = next.newCall(method, options.withExecutor(waiter));
            this.method = method;
        }

        @Override
        public void start(Listener<A> listener, Metadata headers) {
            this.listener = listener;
            call.start(new Outcome<>(call, method, waiter::done), headers);
        }

        @Override
        public void request(int messages) {}

        @Override
        public void sendMessage(Q message) {
            call.sendMessage(message);
        }

        @Override
        public void halfClose() {
            call.halfClose();
            waiter.await(call);
            if (waiter.error != null) {
                throw waiter.error;
            }
            waiter.<A>outcome().give(listener);
        }

        @Override
        public void cancel(String message, Throwable cause) {
            call.cancel(message, cause);
        }
    }

    /** Runs what a call has to tell on the thread that waits for it. */
    private static final class Waiter implements Executor {
        private final BlockingQueue<Runnable> tasks = new LinkedBlockingQueue<>();
        private volatile boolean over;
        private Outcome<?> outcome;
        private CallException error;

        @Override
        public void execute(Runnable task) {
            if (over) {
                task.run();
            } else {
                tasks.add(task);
            }
        }

        void done(Outcome<?> outcome, CallException error) {
            this.outcome = outcome;
            this.error = error;
            over = true;
        }

        void await(ClientCall<?, ?> call) {
            boolean interrupted = false;
            while (!over) {
                try {
                    tasks.take().run();
                } catch (InterruptedException e) {
                    interrupted = true;
                    call.cancel("the thread was interrupted", e);
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }

        @SuppressWarnings("unchecked") // it is of the call that this waits for
        <A> Outcome<A> outcome() {
            return (Outcome<A>) outcome;
        }
    }
}
