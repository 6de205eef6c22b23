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
import io.grpc.ManagedChannel;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslProvider;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;

/**
 * A connection to a gateway, and where that one sends calls to others, with a stub per service. It is safe for concurrent
 * use, and meant to be kept: one per process and identity.
 *
 * <pre>{@code
 * try (DomicileClient client = DomicileClient.connect(
 *         Options.of("127.0.0.1:8443", Identity.embedded(Path.of("data"), "app-ch")))) {
 *     client.records().getRecord(request);
 * }
 * }</pre>
 *
 * <p>The blocking stubs' unary calls throw {@link DeniedException} or {@link GatewayException}. Streams are best read with
 * {@link #stream} or the methods for drives, which throw the same; what gRPC's own iterators, futures and observers give has
 * it as its cause: {@link CallException#of} finds it.
 */
public final class DomicileClient implements AutoCloseable {
    /** The largest answer that is accepted, in bytes: a full page of records. */
    private static final int MAX_MESSAGE = 64 << 20;

    private static final int MAX_METADATA = 64 << 10; // violations field by field come in the trailer

    // The connection is probed only while calls are open. Gateways tolerate a probe every 10 s unless their
    // limits.keepalive_min says otherwise.
    private static final long KEEPALIVE_SECONDS = 30;
    private static final long KEEPALIVE_TIMEOUT_SECONDS = 10;
    private static final int CONNECT_MILLIS = 5_000;

    private final Homes homes;
    private final Channel channel;
    private final Channel blocking;

    private DomicileClient(Options options, SslContext tls) {
        ScheduledThreadPoolExecutor timers = timers();
        Executor executor = Executors.newCachedThreadPool(daemons("domicile-client"));
        Connection own = new Connection(dial(options, options.address(), tls, executor, options.serverName()));
        Endpoints endpoints = new Endpoints(
                target -> new Connection(dial(options, target, tls, executor, "")), timers, Endpoints.IDLE_MILLIS);
        homes = new Homes(options.followHome(), options.address(), own, endpoints);
        channel = new Calls(options, homes, timers, executor);
        blocking = new BlockingChannel(channel);
        own.state(true); // begins to connect
    }

    /**
     * Reads the identity's files and begins to connect. It does not wait for the gateway: a call does.
     *
     * @param options which gateway, and as whom
     * @return the client
     * @throws IOException if a file of the identity cannot be read
     * @throws GeneralSecurityException if what a file of the identity holds cannot be used
     */
    public static DomicileClient connect(Options options) throws IOException, GeneralSecurityException {
        IdentityFiles files = new IdentityFiles(options.identity());
        return new DomicileClient(options, tls(files));
    }

    private static SslContext tls(IdentityFiles files) throws IOException {
        // Java's own TLS everywhere, so that what it says of a handshake is the same everywhere.
        return GrpcSslContexts.configure(SslContextBuilder.forClient(), SslProvider.JDK)
                .protocols("TLSv1.3")
                .keyManager(new IdentityKeys(files))
                .trustManager(new IdentityTrust(files))
                .build();
    }

    private static ManagedChannel dial(
            Options options, String target, SslContext tls, Executor executor, String serverName) {
        NettyChannelBuilder b = NettyChannelBuilder.forTarget(target)
                .sslContext(tls)
                .executor(executor)
                .userAgent(options.userAgent())
                .disableRetry() // gRPC's own retries know no RetryInfo and no request_id: see Retrier
                .disableServiceConfigLookUp()
                .defaultLoadBalancingPolicy("round_robin")
                .maxInboundMessageSize(MAX_MESSAGE)
                .maxInboundMetadataSize(MAX_METADATA)
                .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
                .keepAliveTimeout(KEEPALIVE_TIMEOUT_SECONDS, TimeUnit.SECONDS)
                .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_MILLIS);
        return (serverName.isEmpty() ? b : b.overrideAuthority(serverName)).build();
    }

    private static ScheduledThreadPoolExecutor timers() {
        ScheduledThreadPoolExecutor timers = new ScheduledThreadPoolExecutor(1, daemons("domicile-timer"));
        timers.setRemoveOnCancelPolicy(true);
        timers.setKeepAliveTime(10, TimeUnit.SECONDS); // so it ends by itself
        timers.allowCoreThreadTimeOut(true);
        return timers;
    }

    private static ThreadFactory daemons(String name) {
        return task -> {
            Thread t = new Thread(task, name);
            t.setDaemon(true);
            return t;
        };
    }

    /**
     * Gives the blocking stub for tenants: where they are at home, and their end.
     *
     * @return the stub
     */
    public TenantServiceGrpc.TenantServiceBlockingStub tenants() {
        return TenantServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for personal records and their subjects.
     *
     * @return the stub
     */
    public RecordServiceGrpc.RecordServiceBlockingStub records() {
        return RecordServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for virtual drives.
     *
     * @return the stub
     */
    public DriveServiceGrpc.DriveServiceBlockingStub drives() {
        return DriveServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for consents.
     *
     * @return the stub
     */
    public ConsentServiceGrpc.ConsentServiceBlockingStub consents() {
        return ConsentServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for transfers between regions.
     *
     * @return the stub
     */
    public TransferServiceGrpc.TransferServiceBlockingStub transfers() {
        return TransferServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for recipients, legal orders, abuse cases and disclosures.
     *
     * @return the stub
     */
    public DisclosureServiceGrpc.DisclosureServiceBlockingStub disclosures() {
        return DisclosureServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for the policies in force.
     *
     * @return the stub
     */
    public PolicyServiceGrpc.PolicyServiceBlockingStub policies() {
        return PolicyServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for decisions, and the log of them.
     *
     * @return the stub
     */
    public AuditServiceGrpc.AuditServiceBlockingStub audit() {
        return AuditServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for what a tenant uses.
     *
     * @return the stub
     */
    public UsageServiceGrpc.UsageServiceBlockingStub usage() {
        return UsageServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the blocking stub for the gateway itself and its regions.
     *
     * @return the stub
     */
    public GatewayServiceGrpc.GatewayServiceBlockingStub gateway() {
        return GatewayServiceGrpc.newBlockingStub(blocking);
    }

    /**
     * Gives the stubs that give futures.
     *
     * @return the stubs
     */
    public FutureStubs futures() {
        return new FutureStubs(channel);
    }

    /**
     * Gives the channel for stubs of the caller's own that do not block, and for services that have none here, such as
     * {@code grpc.health.v1.Health}.
     *
     * @return the channel, which does for every call what this client does
     */
    public Channel channel() {
        return channel;
    }

    /**
     * Gives the channel for blocking stubs of the caller's own: their unary calls throw this package's exceptions.
     *
     * @return the channel
     */
    public Channel blockingChannel() {
        return blocking;
    }

    /** Ends the connections and every call on them. */
    @Override
    public void close() {
        homes.close();
    }
}
