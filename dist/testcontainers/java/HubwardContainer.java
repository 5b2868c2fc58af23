// The emulator with Testcontainers for Java. NOT RUN and NOT COMPILED: see ../README.md.
//
// Copy this file into your project. Dependency: org.testcontainers:testcontainers:2.0.5

import java.nio.file.Path;
import java.util.List;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.wait.strategy.Wait;
import org.testcontainers.images.builder.Transferable;
import org.testcontainers.utility.DockerImageName;

/** Starts the emulator with the device `dev-1`. Use it with try-with-resources. */
public class HubwardContainer extends GenericContainer<HubwardContainer> {
    public static final String HOST = "localhost";
    public static final String ID_SCOPE = "0ne000DECADE";
    public static final String REGISTRATION_ID = "dev-1";
    /** A public key, for tests only. */
    public static final String KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    private static final String SEED = """
        {"enrollments": [{"registrationId": "%s", "attestation": {"type": "symmetricKey",
          "symmetricKey": {"primaryKey": "%s", "secondaryKey": "%s"}}}]}
        """.formatted(REGISTRATION_ID, KEY, KEY);

    public HubwardContainer() {
        super(DockerImageName.parse("hubward-emulator"));
        withExposedPorts(8883, 443);
        setPortBindings(List.of("8883:8883", "443:443"));
        withCopyToContainer(Transferable.of(SEED), "/seed.json");
        withEnv("HUBWARD_SEED", "/seed.json");
        waitingFor(Wait.forLogMessage(".*\"type\":\"ready\".*", 1));
    }

    /** Copies the certificate to trust into a file. `hubward emulator trust --for java` says how Java trusts it. */
    public void copyCertificate(Path file) {
        copyFileFromContainer("/data/ca.pem", file.toString());
    }
}
