package dev.domicile.client;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;

/** An identity's files as last read. Safe for concurrent use. */
final class IdentityFiles {
    private static final Pattern PKCS8 =
            Pattern.compile("-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\\s]+)-----END PRIVATE KEY-----");

    private final Identity identity;
    private List<Version> seen;
    private Material current; // null until first loaded
    private Material previous; // for a handshake that began before the newest change

    /** What the files hold. */
    record Material(String alias, PrivateKey key, X509Certificate[] chain, X509ExtendedTrustManager trust) {}

    private record Version(FileTime modified, long size) {}

    /** Reads the files; fails when they cannot be used. */
    IdentityFiles(Identity identity) throws IOException, GeneralSecurityException {
        this.identity = identity;
        this.seen = versions();
        this.current = read(0);
    }

    /** What the files hold now, or the last that could be used. */
    synchronized Material load() {
        List<Version> now = versions();
        if (!now.equals(seen)) {
            try {
                Material fresh = read(Integer.parseInt(current.alias) + 1);
                previous = current;
                current = fresh;
                seen = now;
            } catch (IOException | GeneralSecurityException e) {
                return current; // half renewed: looked at again for the next connection
            }
        }
        return current;
    }

    /** What a handshake began with that chose this alias, or null. */
    synchronized Material of(String alias) {
        if (current.alias.equals(alias)) {
            return current;
        }
        return previous != null && previous.alias.equals(alias) ? previous : null;
    }

    private List<Version> versions() {
        return List.of(version(identity.certificate()), version(identity.key()), version(identity.ca()));
    }

    private static Version version(Path file) {
        try {
            return new Version(Files.getLastModifiedTime(file), Files.size(file));
        } catch (IOException e) {
            return new Version(FileTime.fromMillis(0), -1);
        }
    }

    private Material read(int number) throws IOException, GeneralSecurityException {
        List<X509Certificate> chain = certificates(identity.certificate());
        PublicKey mine = chain.get(0).getPublicKey();
        PrivateKey key = key(identity.key(), mine.getAlgorithm());
        if (!belongs(key, mine)) {
            throw new GeneralSecurityException(
                    identity.key() + " is not the key of the certificate in " + identity.certificate());
        }
        return new Material(
                Integer.toString(number), key, chain.toArray(X509Certificate[]::new), trust(certificates(identity.ca())));
    }

    private static List<X509Certificate> certificates(Path file) throws IOException, GeneralSecurityException {
        List<X509Certificate> all = new ArrayList<>();
        try (InputStream in = Files.newInputStream(file)) {
            CertificateFactory.getInstance("X.509").generateCertificates(in).forEach(c -> all.add((X509Certificate) c));
        }
        if (all.isEmpty()) {
            throw new GeneralSecurityException(file + " holds no PEM certificate");
        }
        return all;
    }

    private static PrivateKey key(Path file, String algorithm) throws IOException, GeneralSecurityException {
        Matcher pem = PKCS8.matcher(Files.readString(file, StandardCharsets.ISO_8859_1));
        if (!pem.find()) {
            throw new GeneralSecurityException(
                    file + " holds no PEM private key in PKCS #8: want BEGIN PRIVATE KEY, as `openssl pkcs8 -topk8 -nocrypt` makes");
        }
        byte[] der = Base64.getMimeDecoder().decode(pem.group(1));
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(der));
    }

    private static boolean belongs(PrivateKey key, PublicKey to) throws GeneralSecurityException {
        byte[] probe = {1, 2, 3, 4};
        Signature s = Signature.getInstance(switch (to.getAlgorithm()) {
            case "RSA" -> "SHA256withRSA";
            case "EC" -> "SHA256withECDSA";
            default -> to.getAlgorithm();
        });
        s.initSign(key);
        s.update(probe);
        byte[] signature = s.sign();
        s.initVerify(to);
        s.update(probe);
        return s.verify(signature);
    }

    private static X509ExtendedTrustManager trust(List<X509Certificate> authorities)
            throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        for (X509Certificate c : authorities) {
            store.setCertificateEntry(Integer.toString(store.size()), c);
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        for (TrustManager m : factory.getTrustManagers()) {
            if (m instanceof X509ExtendedTrustManager x) {
                return x;
            }
        }
        throw new GeneralSecurityException("this Java has no PKIX trust manager");
    }
}
