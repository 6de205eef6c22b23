package dev.domicile.client;

import java.net.Socket;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;

/** Gives each handshake the identity's certificate as its files hold it then. */
final class IdentityKeys extends X509ExtendedKeyManager {
    private final IdentityFiles files;

    IdentityKeys(IdentityFiles files) {
        this.files = files;
    }

    @Override
    public String chooseEngineClientAlias(String[] keyTypes, Principal[] issuers, SSLEngine engine) {
        // Whatever authorities the gateway names: when it does not know this one it says so, which helps more than silence.
        IdentityFiles.Material m = files.load();
        return List.of(keyTypes).contains(m.key().getAlgorithm()) ? m.alias() : null;
    }

    @Override
    public String chooseClientAlias(String[] keyTypes, Principal[] issuers, Socket socket) {
        return chooseEngineClientAlias(keyTypes, issuers, null);
    }

    @Override
    public X509Certificate[] getCertificateChain(String alias) {
        IdentityFiles.Material m = files.of(alias);
        return m == null ? null : m.chain().clone();
    }

    @Override
    public PrivateKey getPrivateKey(String alias) {
        IdentityFiles.Material m = files.of(alias);
        return m == null ? null : m.key();
    }

    @Override
    public String[] getClientAliases(String keyType, Principal[] issuers) {
        return new String[] {files.load().alias()};
    }

    @Override
    public String[] getServerAliases(String keyType, Principal[] issuers) {
        return null; // an identity is a client's
    }

    @Override
    public String chooseServerAlias(String keyType, Principal[] issuers, Socket socket) {
        return null;
    }
}
