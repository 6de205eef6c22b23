package dev.domicile.client;

import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;

/** The connections to other endpoints than {@link Options#address()}. Safe for concurrent use. */
final class Endpoints {
    static final int MAX = 16;
    static final long IDLE_MILLIS = TimeUnit.MINUTES.toMillis(5); // after its last call a connection is closed

    private final Function<String, Connection> dial; // by gRPC target
    private final ScheduledExecutorService timers;
    private final long idleMillis;
    private final Map<String, Entry> entries = new HashMap<>();
    private boolean closed;

    private static final class Entry {
        final Connection connection;
        int calls; // that are under way
        long used; // when the last of them ended
        ScheduledFuture<?> close; // runs while there are none

        Entry(Connection connection) {
            this.connection = connection;
        }
    }

    Endpoints(Function<String, Connection> dial, ScheduledExecutorService timers, long idleMillis) {
        this.dial = dial;
        this.timers = timers;
        this.idleMillis = idleMillis;
    }

    /** The connection to an endpoint, which is kept until the place is done with. */
    synchronized Place take(String address) throws NoWayException {
        if (closed) {
            throw new NoWayException("the client is closed");
        }
        Entry e = entries.get(address);
        if (e == null) {
            e = connect(address);
        }
        e.calls++;
        if (e.close != null) {
            e.close.cancel(false);
            e.close = null;
        }
        Entry taken = e;
        AtomicBoolean done = new AtomicBoolean();
        return new Place(address, e.connection, () -> {
            if (done.compareAndSet(false, true)) {
                release(address, taken);
            }
        });
    }

    private Entry connect(String address) throws NoWayException {
        String target = EndpointAddress.target(address)
                .orElseThrow(() -> new NoWayException("it is not of the form \"host:port\""));
        if (entries.size() >= MAX && !evict()) {
            throw new NoWayException("calls to " + MAX + " other endpoints are under way: end some of them");
        }
        Entry e = new Entry(dial.apply(target));
        entries.put(address, e);
        return e;
    }

    /** Closes the connection that has had no call for the longest. */
    private boolean evict() {
        Optional<Map.Entry<String, Entry>> oldest = entries.entrySet().stream()
                .filter(e -> e.getValue().calls == 0)
                .min(Comparator.comparingLong(e -> e.getValue().used));
        oldest.ifPresent(e -> drop(e.getKey(), e.getValue()));
        return oldest.isPresent();
    }

    private void drop(String address, Entry e) {
        if (e.close != null) {
            e.close.cancel(false);
        }
        e.connection.close();
        entries.remove(address);
    }

    private synchronized void release(String address, Entry e) {
        e.calls--;
        if (e.calls > 0 || entries.get(address) != e) {
            return;
        }
        e.used = System.nanoTime();
        e.close = timers.schedule(() -> dropIdle(address, e), idleMillis, TimeUnit.MILLISECONDS);
    }

    private synchronized void dropIdle(String address, Entry e) {
        if (entries.get(address) == e && e.calls == 0) {
            drop(address, e);
        }
    }

    /** Closes every connection, and lets no further be made. */
    synchronized void close() {
        closed = true;
        entries.values().forEach(e -> {
            if (e.close != null) {
                e.close.cancel(false);
            }
            e.connection.close();
        });
        entries.clear();
    }

    synchronized int size() {
        return entries.size();
    }
}
