package dev.domicile.client;

import java.time.Duration;
import java.util.Objects;

/**
 * Which gateway to call, as whom, and how. Immutable: every {@code with} method gives a changed copy.
 *
 * @param address the gateway's {@code host:port}, or any gRPC target such as {@code dns:///gateway.example.org:8443};
 *     calls are spread over all addresses that it resolves to
 * @param identity whom the client calls as, and which authority vouches for the gateway
 * @param serverName the name that the gateway's certificate must be for; empty = the host of {@code address}. It
 *     says nothing of the endpoints that a gateway names
 * @param userAgent goes before gRPC's own
 * @param timeout bounds a unary call that has no deadline, all its attempts together; streams are bounded by the
 *     gateway alone
 * @param maxAttempts how often a call that is safe to repeat is made at the most, the first time included;
 *     1 = never repeated
 * @param followHome whether a call that is refused with USE_HOME_ENDPOINT is made once more at the endpoint that
 *     the refusal names, as the same identity. That endpoint must show a certificate of {@link Identity#ca()} for
 *     the host that was named; before it has, nothing of the call is sent
 */
public record Options(
        String address,
        Identity identity,
        String serverName,
        String userAgent,
        Duration timeout,
        int maxAttempts,
        boolean followHome) {

    /** How long a unary call takes at the most when it has no deadline. */
    public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(15);

    /** How often a call is made at the most. */
    public static final int DEFAULT_MAX_ATTEMPTS = 4;

    /** Checks that nothing is missing or out of range. */
    public Options {
        if (Objects.requireNonNull(address, "address").isEmpty()) {
            throw new IllegalArgumentException("address is empty: want the gateway's host:port");
        }
        Objects.requireNonNull(identity, "identity");
        Objects.requireNonNull(serverName, "serverName");
        Objects.requireNonNull(userAgent, "userAgent");
        if (timeout.isNegative() || timeout.isZero()) {
            throw new IllegalArgumentException("timeout is " + timeout + ": want more than zero");
        }
        if (maxAttempts < 1) {
            throw new IllegalArgumentException("maxAttempts is " + maxAttempts + ": want at least 1, which never repeats");
        }
    }

    /**
     * Gives the options that most programs want.
     *
     * @param address the gateway's {@code host:port}
     * @param identity whom the client calls as
     * @return the options
     */
    public static Options of(String address, Identity identity) {
        return new Options(address, identity, "", "domicile-java", DEFAULT_TIMEOUT, DEFAULT_MAX_ATTEMPTS, true);
    }

    /**
     * Gives a copy with another {@link #serverName()}.
     *
     * @param serverName the name that the gateway's certificate must be for
     * @return the copy
     */
    public Options withServerName(String serverName) {
        return new Options(address, identity, serverName, userAgent, timeout, maxAttempts, followHome);
    }

    /**
     * Gives a copy with another {@link #userAgent()}.
     *
     * @param userAgent what goes before gRPC's own
     * @return the copy
     */
    public Options withUserAgent(String userAgent) {
        return new Options(address, identity, serverName, userAgent, timeout, maxAttempts, followHome);
    }

    /**
     * Gives a copy with another {@link #timeout()}.
     *
     * @param timeout of a unary call that has no deadline
     * @return the copy
     */
    public Options withTimeout(Duration timeout) {
        return new Options(address, identity, serverName, userAgent, timeout, maxAttempts, followHome);
    }

    /**
     * Gives a copy with another {@link #maxAttempts()}.
     *
     * @param maxAttempts the first attempt included
     * @return the copy
     */
    public Options withMaxAttempts(int maxAttempts) {
        return new Options(address, identity, serverName, userAgent, timeout, maxAttempts, followHome);
    }

    /**
     * Gives a copy with another {@link #followHome()}.
     *
     * @param followHome false calls {@link #address()} alone: the refusal is the answer
     * @return the copy
     */
    public Options withFollowHome(boolean followHome) {
        return new Options(address, identity, serverName, userAgent, timeout, maxAttempts, followHome);
    }
}
