import java.io.FileReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import javax.net.ssl.KeyManager;

import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;
import org.bouncycastle.util.io.pem.PemObject;

/**
 * A device that speaks EST with Bouncy Castle's client, as its documentation shows it and with no setting changed.
 *
 * <pre>
 * EstClient cacerts  --server HOST:PORT [--label L] --trust FILE --out FILE
 * EstClient enroll   ... --subject DN --dns NAME --key-type ec|rsa --new-key FILE --out FILE
 *                    [--user NAME --password TEXT] [--cert FILE --key FILE]
 * EstClient reenroll the same
 * </pre>
 *
 * All files are PEM. It prints one line for what it got; a refusal goes to standard error, with exit code 1.
 */
public final class EstClient {
    private static final int TIMEOUT_MILLISECONDS = 20_000;

    private final Map<String, String> options = new HashMap<>();

    private EstClient(String[] arguments) {
        for (int i = 1; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider()); // the trust manager looks for it by name
        EstClient client = new EstClient(arguments);
        try {
            switch (arguments[0]) {
                case "cacerts" -> client.caCertificates();
                case "enroll" -> client.enroll(false);
                case "reenroll" -> client.enroll(true);
                default -> throw new IllegalArgumentException("unknown command " + arguments[0]);
            }
        } catch (ESTException refusal) {
            System.err.println("HTTP " + refusal.getStatusCode() + ": " + refusal.getMessage());
            refusal.printStackTrace();
            System.exit(1);
        }
    }

    private void caCertificates() throws Exception {
        X509CertificateHolder[] certificates = ESTService.storeToArray(service().getCACerts().getCertificateStore());
        write(Path.of(option("out")), (Object[]) certificates);
        System.out.println("cacerts: " + certificates.length + " certificates");
    }

    private void enroll(boolean again) throws Exception {
        KeyPair pair = newKeyPair();
        write(Path.of(option("new-key")), new PemObject("PRIVATE KEY", pair.getPrivate().getEncoded()));
        EnrollmentResponse response = service().simpleEnroll(again, certificationRequest(pair), authentication());
        if (!response.isCompleted()) {
            throw new IOException("not issued yet; ask again after " + response.getNotBefore());
        }
        X509CertificateHolder[] certificates = ESTService.storeToArray(response.getStore());
        write(Path.of(option("out")), (Object[]) certificates);
        System.out.println("issued: serial " + certificates[0].getSerialNumber().toString(16));
    }

    private ESTService service() throws Exception {
        Set<TrustAnchor> anchors = certificates(option("trust")).stream()
            .map(each -> new TrustAnchor(each, null))
            .collect(Collectors.toSet());
        JsseESTServiceBuilder builder =
            new JsseESTServiceBuilder(option("server"), JcaJceUtils.getCertPathTrustManager(anchors, null));
        builder.withTimeout(TIMEOUT_MILLISECONDS);
        if (options.containsKey("label")) {
            builder.withLabel(option("label"));
        }
        if (options.containsKey("cert")) {
            builder.withKeyManagers(keyManagers());
        }
        return builder.build();
    }

    private KeyManager[] keyManagers() throws Exception {
        char[] password = new char[0];
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, password);
        Certificate[] chain = certificates(option("cert")).toArray(new Certificate[0]);
        store.setKeyEntry("device", privateKey(option("key")), password, chain);
        return JcaJceUtils.createKeyManagerFactory("PKIX", null, store, password).getKeyManagers();
    }

    private ESTAuth authentication() throws Exception {
        if (!options.containsKey("user")) {
            return null;
        }
        return new JcaHttpAuthBuilder(option("user"), option("password").toCharArray())
            .setProvider("BC")
            .build();
    }

    private KeyPair newKeyPair() throws Exception {
        boolean rsa = option("key-type").equals("rsa");
        KeyPairGenerator generator = KeyPairGenerator.getInstance(rsa ? "RSA" : "EC");
        if (rsa) {
            generator.initialize(2048);
        } else {
            generator.initialize(new ECGenParameterSpec("secp256r1"));
        }
        return generator.generateKeyPair();
    }

    private PKCS10CertificationRequest certificationRequest(KeyPair pair) throws Exception {
        ExtensionsGenerator extensions = new ExtensionsGenerator();
        GeneralNames names = new GeneralNames(new GeneralName(GeneralName.dNSName, option("dns")));
        extensions.addExtension(Extension.subjectAlternativeName, false, names);
        String algorithm = option("key-type").equals("rsa") ? "SHA256withRSA" : "SHA256withECDSA";
        return new JcaPKCS10CertificationRequestBuilder(new X500Name(option("subject")), pair.getPublic())
            .addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest, extensions.generate())
            .build(new JcaContentSignerBuilder(algorithm).build(pair.getPrivate()));
    }

    private static List<X509Certificate> certificates(String file) throws Exception {
        List<X509Certificate> found = new ArrayList<>();
        try (PEMParser parser = new PEMParser(new FileReader(file, StandardCharsets.US_ASCII))) {
            for (Object each = parser.readObject(); each != null; each = parser.readObject()) {
                found.add(new JcaX509CertificateConverter().getCertificate((X509CertificateHolder) each));
            }
        }
        return found;
    }

    private static PrivateKey privateKey(String file) throws Exception {
        try (PEMParser parser = new PEMParser(new FileReader(file, StandardCharsets.US_ASCII))) {
            return new JcaPEMKeyConverter().getPrivateKey((PrivateKeyInfo) parser.readObject());
        }
    }

    private static void write(Path file, Object... objects) throws IOException {
        try (JcaPEMWriter writer = new JcaPEMWriter(Files.newBufferedWriter(file))) {
            for (Object each : objects) {
                writer.writeObject(each);
            }
        }
    }

    private String option(String name) {
        String value = options.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }
}
