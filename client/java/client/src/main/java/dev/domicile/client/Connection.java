package dev.domicile.client;

import io.grpc.Channel;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * A channel that is connected again soon after a failure. gRPC's own back-off begins at a second, and while it lasts
 * every call fails at once. Here a call begins a new connection after 100 ms, then after longer and longer
 * until 10 s.
 */
final class Connection {
    private static final long FIRST_WAIT = TimeUnit.MILLISECONDS.toNanos(100);
    private static final long LONGEST_WAIT = TimeUnit.SECONDS.toNanos(10);
    private static final double GROWTH = 1.6;
    private static final double JITTER = 0.2;

    private final ManagedChannel channel;
    private final LongSupplier clock;
    private int failures; // in a row
    private long notBefore; // of the clock, once there were failures

    Connection(ManagedChannel channel) {
        this(channel, System::nanoTime);
    }

    Connection(ManagedChannel channel, LongSupplier clock) {
        this.channel = channel;
        this.clock = clock;
    }

    /** The channel, for a call that is made now. */
    synchronized Channel forCall() {
        switch (channel.getState(false)) {
            case READY -> failures = 0;
            case TRANSIENT_FAILURE -> reconnect();
            default -> {} // it is connecting, or will for this call
        }
        return channel;
    }

    private void reconnect() {
        long now = clock.getAsLong();
        if (failures > 0 && now - notBefore < 0) {
            return;
        }
        notBefore = now + backoff(failures);
        failures++;
        channel.enterIdle(); // forgets gRPC's back-off: the call that follows connects, and waits for how that ends
    }

    private static long backoff(int failures) {
        double wait = Math.min(FIRST_WAIT * Math.pow(GROWTH, failures), LONGEST_WAIT);
        return (long) (wait * (1 + JITTER * (2 * ThreadLocalRandom.current().nextDouble() - 1)));
    }

    ConnectivityState state(boolean connect) {
        return channel.getState(connect);
    }

    /** Ends every call and closes. */
    void close() {
        channel.shutdownNow();
    }

    ManagedChannel channel() {
        return channel;
    }
}
