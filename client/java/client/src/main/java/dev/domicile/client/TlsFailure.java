package dev.domicile.client;

/**
 * Why no secure connection came about. Repeating the call does not help.
 *
 * @param byGateway whether the gateway refused this client's certificate; else the client refused what answered
 * @param problem what was wrong
 */
public record TlsFailure(boolean byGateway, Problem problem) {

    /** What was wrong with a certificate or the protocol. */
    public enum Problem {
        /** The other side does not accept the authority that made the certificate. */
        UNKNOWN_AUTHORITY,
        /** The gateway's certificate is for another name than was called. */
        WRONG_NAME,
        /** The certificate has ended, or one clock is wrong. */
        EXPIRED,
        /** The gateway wants a certificate and got none. */
        NO_CERTIFICATE,
        /** What answers speaks no TLS, or none of version 1.3. */
        PROTOCOL,
        /** Anything else. */
        OTHER
    }
}
