package dev.domicile.client;

import io.grpc.Status;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Knows at which endpoint each tenant is served, as far as gateways have said. The endpoint "" is
 * {@link Options#address()} itself. Safe for concurrent use.
 */
final class Homes {
    static final int MAX_REMEMBERED = 4096; // tenants

    private static final Home UNKNOWN = new Home("", false);

    private final boolean follow;
    private final String ownAddress;
    private final Connection own;
    private final Endpoints endpoints;
    private final Map<String, Home> byTenant = new LinkedHashMap<>(16, 0.75f, true) {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Home> eldest) {
            return size() > MAX_REMEMBERED;
        }
    };

    /**
     * Where a tenant is served.
     *
     * @param took whether it has taken data of the tenant's drives, so that it is no third place
     */
    record Home(String endpoint, boolean took) {}

    /** Where a call begins, and whether that place has taken data of the tenant's drives before. */
    record Start(Place place, boolean took) {}

    Homes(boolean follow, String ownAddress, Connection own, Endpoints endpoints) {
        this.follow = follow;
        this.ownAddress = ownAddress;
        this.own = own;
        this.endpoints = endpoints;
    }

    boolean follows() {
        return follow;
    }

    Start start(String tenant) {
        Home known = home(tenant);
        try {
            return new Start(place(known.endpoint), known.took);
        } catch (NoWayException e) {
            return new Start(ownPlace(), false); // it can be asked for again
        }
    }

    private Place place(String endpoint) throws NoWayException {
        return endpoint.isEmpty() || endpoint.equals(ownAddress) ? ownPlace() : endpoints.take(endpoint);
    }

    private Place ownPlace() {
        return new Place("", own, () -> {});
    }

    /** Where a refused call is to be made instead. */
    Place next(Place from, GatewayException refused) throws NoWayException {
        String to = refused.endpoint();
        if (to.isEmpty()) {
            throw new NoWayException("it names no endpoint");
        }
        if (to.equals(from.endpoint()) || to.equals(ownAddress) && from.endpoint().isEmpty()) {
            throw new NoWayException("it is the endpoint that refused");
        }
        return place(to);
    }

    /** Forgets what a call has shown to be wrong about where its tenant is at home. */
    void learn(String tenant, Place at, boolean reached, CallException error) {
        if (error != null && (!reached || Failures.sentElsewhere(error) != null || Failures.isOwn(error, Status.Code.UNAVAILABLE))) {
            forget(tenant, at.endpoint());
        }
    }

    /**
     * Takes note of how a call ended where it had been sent, and gives its error. One that is sent on from there goes no
     * further: two gateways may be naming each other.
     */
    CallException arrived(String tenant, Place at, CallException error) {
        GatewayException again = Failures.sentElsewhere(error);
        if (again != null) {
            return again.notFollowed(new NoWayException(
                    "a call goes to one other endpoint only, and this one had been sent to " + at.named() + " already"));
        }
        for (Status.Code code : List.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED, Status.Code.CANCELLED)) {
            if (Failures.isOwn(error, code)) { // nobody has said that the home is there
                return error;
            }
        }
        remember(tenant, new Home(at.endpoint(), false));
        return error;
    }

    synchronized Home home(String tenant) {
        return byTenant.getOrDefault(tenant, UNKNOWN);
    }

    synchronized void remember(String tenant, Home at) {
        if (!tenant.isEmpty()) {
            byTenant.put(tenant, at);
        }
    }

    /** Drops what was remembered of a tenant, unless that is another endpoint by now. */
    private synchronized void forget(String tenant, String endpoint) {
        if (byTenant.getOrDefault(tenant, UNKNOWN).endpoint.equals(endpoint)) {
            byTenant.remove(tenant);
        }
    }

    void close() {
        endpoints.close();
        own.close();
    }
}
