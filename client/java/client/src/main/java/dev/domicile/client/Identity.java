package dev.domicile.client;

import java.nio.file.Path;
import java.util.Objects;

/**
 * The files that say whom a client calls as and which authority vouches for its gateway, all PEM. They are looked
 * at again for every new connection, so renewed ones are used without a restart; a connection that stands keeps
 * what it began with. A change that cannot be used leaves the last good files in use.
 *
 * @param certificate the client's certificate and whatever chain it needs
 * @param key its private key, in PKCS #8 ({@code BEGIN PRIVATE KEY}), not encrypted
 * @param ca the authorities that the gateway's certificate may descend from; the system's are not asked
 */
public record Identity(Path certificate, Path key, Path ca) {

    /** Checks that nothing is missing. */
    public Identity {
        Objects.requireNonNull(certificate, "certificate");
        Objects.requireNonNull(key, "key");
        Objects.requireNonNull(ca, "ca");
    }

    /**
     * Names the files of an identity that an embedded gateway made.
     *
     * @param data the gateway's data folder
     * @param name the identity's name, such as {@code app-ch}
     * @return the identity
     */
    public static Identity embedded(Path data, String name) {
        Path dir = data.resolve("identity");
        return new Identity(dir.resolve(name + ".crt"), dir.resolve(name + ".key"), dir.resolve("ca.crt"));
    }
}
