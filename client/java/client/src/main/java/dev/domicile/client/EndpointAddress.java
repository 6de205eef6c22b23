package dev.domicile.client;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads the endpoint that a gateway names. It is a host and a port and nothing else: no scheme, which could name a
 * socket or a proxy of this machine.
 */
final class EndpointAddress {
    private static final Pattern HOST_PORT = Pattern.compile("(?:\\[([0-9A-Fa-f:.]{2,45})]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})");

    /** One part of a name in the DNS (RFC 1123; the underscore is for names within clusters). */
    private static final Pattern LABEL = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_-]{0,62}");

    private EndpointAddress() {}

    /** The gRPC target for an endpoint; nothing when it has not the form. */
    static Optional<String> target(String endpoint) {
        Matcher m = HOST_PORT.matcher(endpoint);
        if (!m.matches() || !isPort(m.group(3)) || m.group(2) != null && !isName(m.group(2))) {
            return Optional.empty();
        }
        return Optional.of("dns:///" + endpoint);
    }

    private static boolean isPort(String digits) {
        int port = Integer.parseInt(digits);
        return port > 0 && port < 1 << 16;
    }

    private static boolean isName(String host) {
        String relative = host.endsWith(".") ? host.substring(0, host.length() - 1) : host;
        for (String label : relative.split("\\.", -1)) {
            if (!LABEL.matcher(label).matches()) {
                return false;
            }
        }
        return true;
    }
}
