package dev.domicile.client;

import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * Says when a call that answered UNAVAILABLE is made again. It waits as long as the gateway asks (RetryInfo,
 * grpc-retry-pushback-ms), never past the call's deadline. Safe for concurrent use.
 */
final class Retrier {
    /** Waits when the gateway names none: they double from the first to the longest, less up to a half at random. */
    static final Duration FIRST_WAIT = Duration.ofMillis(100);

    static final Duration LONGEST_WAIT = Duration.ofSeconds(2);

    /** gRPC's own word for how long to wait, in milliseconds; negative, or no number = do not try again. */
    private static final Metadata.Key<String> PUSHBACK =
            Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

    private static final double FULL_BUDGET = 20;

    private final int maxAttempts;

    /**
     * Keeps clients from burying a gateway that is in trouble, as gRPC's retry throttling does (gRFC A6): an
     * unavailable answer costs a token, another earns a tenth, and below half of the tokens nothing is repeated.
     */
    private double tokens = FULL_BUDGET;

    Retrier(int maxAttempts) {
        this.maxAttempts = maxAttempts;
    }

    /**
     * Takes note of how an attempt ended, counted from 1, and says how long to wait before the next; nothing when
     * there must be none.
     */
    Optional<Duration> next(boolean safe, int attempt, CallException error, Deadline deadline) {
        boolean again = isUnavailable(error);
        boolean affordable = spend(again);
        if (!again || !safe || attempt >= maxAttempts || !affordable) {
            return Optional.empty();
        }
        return pause(attempt, error)
                .filter(wait -> deadline == null || deadline.timeRemaining(TimeUnit.NANOSECONDS) > wait.toNanos());
    }

    /** Makes a call until it succeeds, must not be repeated or has been often enough. The waits block. */
    <T> T repeat(boolean safe, Deadline deadline, Supplier<T> call) {
        for (int attempt = 1; ; attempt++) {
            try {
                T answer = call.get();
                spend(false);
                return answer;
            } catch (CallException e) {
                Optional<Duration> wait = next(safe, attempt, e, deadline);
                if (wait.isEmpty() || !sleep(wait.get())) {
                    throw e;
                }
            }
        }
    }

    private static boolean sleep(Duration wait) {
        try {
            TimeUnit.NANOSECONDS.sleep(wait.toNanos());
            return true;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    /** Whether the gateway, or the endpoint that it named, was not available. */
    static boolean isUnavailable(Throwable error) {
        return error instanceof GatewayException e
                && (e.code() == Status.Code.UNAVAILABLE || e.notFollowed().filter(Retrier::isUnavailable).isPresent());
    }

    static Optional<Duration> pause(int attempt, CallException error) {
        if (error.trailers().containsKey(PUSHBACK)) {
            return pushedBack(error.trailers().getAll(PUSHBACK));
        }
        long wait = Math.min(FIRST_WAIT.toMillis() << Math.min(attempt - 1, 10), LONGEST_WAIT.toMillis());
        Duration chosen = Duration.ofMillis(wait - ThreadLocalRandom.current().nextLong(wait / 2 + 1));
        Duration asked = error instanceof GatewayException e ? e.retryAfter() : Duration.ZERO;
        return Optional.of(chosen.compareTo(asked) < 0 ? asked : chosen);
    }

    private static Optional<Duration> pushedBack(Iterable<String> values) {
        Optional<Duration> wait = Optional.empty();
        for (String v : values) {
            if (wait.isPresent() || !v.matches("[0-9]{1,9}")) { // said twice is not said
                return Optional.empty();
            }
            wait = Optional.of(Duration.ofMillis(Long.parseLong(v)));
        }
        return wait;
    }

    /** Takes note of an answer and says whether a repetition can be afforded. */
    private synchronized boolean spend(boolean unavailable) {
        tokens = unavailable ? Math.max(tokens - 1, 0) : Math.min(tokens + 0.1, FULL_BUDGET);
        return tokens > FULL_BUDGET / 2;
    }
}
