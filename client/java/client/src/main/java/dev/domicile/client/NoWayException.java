package dev.domicile.client;

/** Why an endpoint that a gateway named was not called. */
final class NoWayException extends Exception {
    private static final long serialVersionUID = 1;

    NoWayException(String why) {
        super(why);
    }
}
