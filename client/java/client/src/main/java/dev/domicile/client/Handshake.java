package dev.domicile.client;

import dev.domicile.client.TlsFailure.Problem;
import io.grpc.netty.shaded.io.netty.handler.ssl.NotSslRecordException;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslHandshakeTimeoutException;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLHandshakeException;

/** Reads why a TLS handshake failed from the exceptions that Java's TLS throws. */
final class Handshake {
    private static final String ALERT = "Received fatal alert: ";

    private Handshake() {}

    /** What was wrong, or null when the connection failed for another cause than TLS. */
    static TlsFailure failure(Throwable cause) {
        TlsFailure found = null;
        for (Throwable t = cause; t != null; t = t.getCause()) { // the innermost says the most
            TlsFailure at = one(t);
            found = at == null || found != null && at.problem() == Problem.OTHER ? found : at;
        }
        return found;
    }

    private static TlsFailure one(Throwable t) {
        if (t instanceof CertificateExpiredException || t instanceof CertificateNotYetValidException) {
            return refused(Problem.EXPIRED);
        }
        if (t instanceof CertPathBuilderException) {
            return refused(Problem.UNKNOWN_AUTHORITY);
        }
        if (t instanceof CertificateException) { // of a name it has no type of its own
            return refused(says(t, "No subject alternative", "No name matching") ? Problem.WRONG_NAME : Problem.OTHER);
        }
        if (t instanceof NotSslRecordException) {
            return refused(Problem.PROTOCOL);
        }
        return t instanceof SSLException ? alert(t) : null;
    }

    private static TlsFailure alert(Throwable t) {
        String text = String.valueOf(t.getMessage());
        if (!text.startsWith(ALERT)) {
            return t instanceof SSLHandshakeException && !isBrokenOff(t) ? refused(Problem.OTHER) : null;
        }
        return switch (text.substring(ALERT.length())) {
            case "unknown_ca" -> new TlsFailure(true, Problem.UNKNOWN_AUTHORITY);
            case "certificate_expired" -> new TlsFailure(true, Problem.EXPIRED);
            case "certificate_required" -> new TlsFailure(true, Problem.NO_CERTIFICATE);
            case "protocol_version" -> refused(Problem.PROTOCOL);
            default -> new TlsFailure(true, Problem.OTHER);
        };
    }

    /** Whether the connection ended before the handshake did: that says nothing of certificates. */
    private static boolean isBrokenOff(Throwable t) {
        return t instanceof SslHandshakeTimeoutException || says(t, "Connection closed while", "Remote host terminated");
    }

    private static TlsFailure refused(Problem problem) {
        return new TlsFailure(false, problem);
    }

    private static boolean says(Throwable t, String... texts) {
        for (String text : texts) {
            if (String.valueOf(t.getMessage()).contains(text)) {
                return true;
            }
        }
        return false;
    }
}
