package dev.domicile.client;

import io.grpc.Attributes;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.SynchronizationContext;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.TimeUnit;

/**
 * A stream that is opened when its first message tells the tenant, where that one is at home as far as is known, and once
 * more where it is sent to, as long as nothing but the first message has been sent and nothing has been received.
 *
 * <p>Before the first data goes to a gateway that has not taken any of the tenant yet, the call is not ready until that one has
 * decided; what is sent all the same is held until then. Its decision's identifier comes first, and a refusal
 * right behind it.
 */
final class StreamCall<Q, A> extends ClientCall<Q, A> {
    static final long DECISION_WAIT_MILLIS = 5_000;
    static final long REFUSAL_WAIT_MILLIS = 50;

    private final Calls calls;
    private final MethodDescriptor<Q, A> method;
    private final CallOptions options;
    private final boolean uploads; // more than the first message is sent
    private final Context context = Context.current();
    private final SynchronizationContext told = new SynchronizationContext((t, e) -> cancel("what listens failed", e));

    private Listener<A> listener;
    private Metadata headers;

    // Guarded by this, which is never held while the listener is told something.
    private StreamAttempt<Q, A> under;
    private Q first;
    private String tenant = "";
    private final Queue<Q> held = new ArrayDeque<>();
    private GatewayException refused; // why the stream was taken elsewhere
    private int requested;
    private boolean begun;
    private boolean decided; // data may go
    private boolean sent; // some has
    private boolean received;
    private boolean halfClosed;
    private boolean cancelled;

    StreamCall(Calls calls, MethodDescriptor<Q, A> method, CallOptions options) {
        this.calls = calls;
        this.method = method;
        this.options = options;
        this.uploads = !method.getType().clientSendsOneMessage();
    }

    @Override
    public void start(Listener<A> listener, Metadata headers) {
        this.listener = listener;
        this.headers = headers;
    }

    @Override
    public synchronized void request(int messages) {
        requested += messages;
        if (under != null) {
            under.call().request(messages);
        }
    }

    @Override
    public synchronized void sendMessage(Q message) {
        if (!begun && first == null) {
            first = Requests.withHeaderRequestId(message);
            tenant = Requests.tenant(message);
            if (uploads) {
                begin();
            }
        } else if (decided && held.isEmpty()) {
            sent = true;
            under.call().sendMessage(message);
        } else {
            held.add(message);
        }
    }

    @Override
    public synchronized void halfClose() {
        halfClosed = true;
        if (!begun) {
            begin();
        } else if (decided && held.isEmpty()) {
            under.call().halfClose();
        }
    }

    private void begin() {
        begun = true;
        Homes.Start start = calls.homes().start(tenant);
        open(start.place(), start.took());
    }

    /** Opens the stream at a place and sends it what has been sent. Guarded by this. */
    private void open(Place at, boolean took) {
        decided = !uploads || took || first == null;
        CallInfo.tellEndpoint(options, at.endpoint());
        StreamAttempt<Q, A> attempt = new StreamAttempt<>(this, at.channel().newCall(method, options), at);
        under = attempt;
        Metadata copy = new Metadata();
        copy.merge(headers);
        context.run(() -> attempt.start(copy, requested, first));
        if (decided && halfClosed) {
            attempt.call().halfClose();
        }
        if (cancelled) {
            attempt.call().cancel("the call was cancelled", null);
        }
        if (!decided) {
            decideIn(attempt, DECISION_WAIT_MILLIS);
        }
    }

    private void decideIn(StreamAttempt<Q, A> attempt, long millis) {
        calls.timers().schedule(() -> options.getExecutor().execute(() -> decide(attempt)), millis, TimeUnit.MILLISECONDS);
    }

    /** Lets data go. */
    private void decide(StreamAttempt<Q, A> attempt) {
        synchronized (this) {
            if (attempt != under || decided) {
                return;
            }
            decided = true;
            sent = !held.isEmpty();
            for (Q message = held.poll(); message != null; message = held.poll()) {
                attempt.call().sendMessage(message);
            }
            if (halfClosed) {
                attempt.call().halfClose();
            }
        }
        ready(attempt);
    }

    /** The gateway has decided. */
    void headers(StreamAttempt<Q, A> attempt) {
        synchronized (this) {
            if (attempt != under || decided) {
                return;
            }
        }
        decideIn(attempt, REFUSAL_WAIT_MILLIS);
    }

    void ready(StreamAttempt<Q, A> attempt) {
        if (isReady()) {
            told.execute(() -> listener.onReady());
        }
    }

    void message(StreamAttempt<Q, A> attempt, A message) {
        if (noteReceived(attempt)) {
            CallInfo.tellDecision(options, Failures.decisionId(attempt.headers()));
            told.execute(() -> listener.onHeaders(attempt.headers()));
        }
        told.execute(() -> listener.onMessage(message));
    }

    /** Takes note that the stream was taken where it is; whether that is new. */
    private synchronized boolean noteReceived(StreamAttempt<Q, A> attempt) {
        if (received) {
            return false;
        }
        received = true;
        if (uploads) {
            calls.homes().remember(tenant, new Homes.Home(attempt.at().endpoint(), true));
        } else if (refused != null) {
            calls.homes().arrived(tenant, attempt.at(), null);
        }
        return true;
    }

    void closed(StreamAttempt<Q, A> attempt, Status status, Metadata trailers) {
        attempt.at().done();
        CallException error = status.isOk() ? null : Failures.of(status, trailers, method.getFullMethodName());
        if (error != null) {
            error = goHome(attempt, error);
            if (error == null) {
                return; // another attempt is under way
            }
        } else if (noteReceived(attempt) && attempt.headers() != null) {
            told.execute(() -> listener.onHeaders(attempt.headers()));
        }
        tellDecision(attempt, trailers, error);
        CallException end = error;
        told.execute(() -> listener.onClose(end == null ? status : end.asStatus(), end == null ? trailers : end.trailers()));
    }

    private void tellDecision(StreamAttempt<Q, A> attempt, Metadata trailers, CallException error) {
        CallInfo.tellDecision(options, Failures.decisionId(attempt.headers()));
        CallInfo.tellDecision(options, error == null ? Failures.decisionId(trailers) : error.decisionId());
    }

    /**
     * Takes the stream where an error says that the tenant is at home, if it says so and nothing is lost by it. Gives the
     * error to tell, or null when another attempt was begun.
     */
    private synchronized CallException goHome(StreamAttempt<Q, A> attempt, CallException error) {
        if (received) {
            return error;
        }
        if (refused != null) {
            return !attempt.isConnected() && Failures.isOwn(error, Status.Code.UNAVAILABLE)
                    ? refused.notFollowed(error)
                    : calls.homes().arrived(tenant, attempt.at(), error);
        }
        calls.homes().learn(tenant, attempt.at(), attempt.isConnected(), error);
        GatewayException elsewhere = Failures.sentElsewhere(error);
        if (elsewhere == null || !calls.homes().follows()) {
            return error;
        }
        if (sent) {
            return elsewhere.notFollowed(new PartSentException());
        }
        try {
            Place to = calls.homes().next(attempt.at(), elsewhere);
            refused = elsewhere;
            open(to, false);
            return null;
        } catch (NoWayException why) {
            return elsewhere.notFollowed(why);
        }
    }

    /** Why a stream was not taken home. */
    static final class PartSentException extends Exception {
        private static final long serialVersionUID = 1;

        PartSentException() {
            super("a part of the stream had been sent: begin it again");
        }
    }

    @Override
    public synchronized boolean isReady() {
        return decided && under != null && under.call().isReady();
    }

    @Override
    public void cancel(String message, Throwable cause) {
        StreamAttempt<Q, A> now;
        synchronized (this) {
            if (cancelled) {
                return;
            }
            cancelled = true;
            begun = true;
            now = under;
        }
        if (now != null) {
            now.call().cancel(message, cause); // its listener ends the call
            return;
        }
        Status status = Status.CANCELLED.withDescription(message).withCause(cause);
        CallException error = Failures.of(status, new Metadata(), method.getFullMethodName());
        options.getExecutor().execute(() -> told.execute(() -> listener.onClose(error.asStatus(), error.trailers())));
    }

    @Override
    public synchronized Attributes getAttributes() {
        return under == null ? Attributes.EMPTY : under.call().getAttributes();
    }
}
