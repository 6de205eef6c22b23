/**
 * The Java client of a Domicile gateway: it knows how to reach one safely, which calls may be repeated when it
 * does not answer, and what its refusals mean.
 *
 * <p>A connection is mutual TLS 1.3 and nothing else. Calls are the generated stubs of {@code residency.v1}, one
 * per service, as methods of {@link dev.domicile.client.DomicileClient}; a call that fails throws a
 * {@link dev.domicile.client.DeniedException} (the privacy policy refused) or a
 * {@link dev.domicile.client.GatewayException} (anything else).
 */
package dev.domicile.client;
