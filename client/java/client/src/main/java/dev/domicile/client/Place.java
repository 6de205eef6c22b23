package dev.domicile.client;

import io.grpc.Channel;

/**
 * Where a call is made.
 *
 * @param endpoint its {@code host:port}; empty = {@link Options#address()}
 * @param release gives the connection back; may be run more than once
 */
record Place(String endpoint, Connection connection, Runnable release) {

    Channel channel() {
        return connection.forCall();
    }

    void done() {
        release.run();
    }

    /** What to call it in an error. */
    String named() {
        return endpoint.isEmpty() ? "the client's own address" : endpoint;
    }
}
