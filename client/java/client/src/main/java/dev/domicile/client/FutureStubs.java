package dev.domicile.client;

import dev.domicile.residency.v1.AuditServiceGrpc;
import dev.domicile.residency.v1.ConsentServiceGrpc;
import dev.domicile.residency.v1.DisclosureServiceGrpc;
import dev.domicile.residency.v1.DriveServiceGrpc;
import dev.domicile.residency.v1.GatewayServiceGrpc;
import dev.domicile.residency.v1.PolicyServiceGrpc;
import dev.domicile.residency.v1.RecordServiceGrpc;
import dev.domicile.residency.v1.TenantServiceGrpc;
import dev.domicile.residency.v1.TransferServiceGrpc;
import dev.domicile.residency.v1.UsageServiceGrpc;
import io.grpc.Channel;

/**
 * The stubs of every service that give futures. A future that fails does so with gRPC's {@code StatusRuntimeException};
 * {@link CallException#of} finds the failure in it.
 */
public final class FutureStubs {
    private final Channel channel;

    FutureStubs(Channel channel) {
        this.channel = channel;
    }

    /**
     * Gives the stub for tenants: where they are at home, and their end.
     *
     * @return the stub
     */
    public TenantServiceGrpc.TenantServiceFutureStub tenants() {
        return TenantServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for personal records and their subjects.
     *
     * @return the stub
     */
    public RecordServiceGrpc.RecordServiceFutureStub records() {
        return RecordServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for virtual drives.
     *
     * @return the stub
     */
    public DriveServiceGrpc.DriveServiceFutureStub drives() {
        return DriveServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for consents.
     *
     * @return the stub
     */
    public ConsentServiceGrpc.ConsentServiceFutureStub consents() {
        return ConsentServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for transfers between regions.
     *
     * @return the stub
     */
    public TransferServiceGrpc.TransferServiceFutureStub transfers() {
        return TransferServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for recipients, legal orders, abuse cases and disclosures.
     *
     * @return the stub
     */
    public DisclosureServiceGrpc.DisclosureServiceFutureStub disclosures() {
        return DisclosureServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for the policies in force.
     *
     * @return the stub
     */
    public PolicyServiceGrpc.PolicyServiceFutureStub policies() {
        return PolicyServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for decisions, and the log of them.
     *
     * @return the stub
     */
    public AuditServiceGrpc.AuditServiceFutureStub audit() {
        return AuditServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for what a tenant uses.
     *
     * @return the stub
     */
    public UsageServiceGrpc.UsageServiceFutureStub usage() {
        return UsageServiceGrpc.newFutureStub(channel);
    }

    /**
     * Gives the stub for the gateway itself and its regions.
     *
     * @return the stub
     */
    public GatewayServiceGrpc.GatewayServiceFutureStub gateway() {
        return GatewayServiceGrpc.newFutureStub(channel);
    }
}
