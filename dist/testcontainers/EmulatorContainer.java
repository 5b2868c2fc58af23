import java.nio.file.Path;
import org.testcontainers.containers.FixedHostPortGenericContainer;
import org.testcontainers.containers.wait.strategy.Wait;
import org.testcontainers.utility.MountableFile;

/**
 * The emulator as a container of Testcontainers. UNTESTED: there is no container engine where hubward is developed.
 *
 * <p>Needs the image of the file hubward-emulator_VERSION_ARCHITECTURE.oci.tar: docker load --input FILE
 *
 * <p>Microsoft's SDKs use only the ports 8883 and 443, so run one container at a time. Do not publish the admin port, 8480.
 */
public class EmulatorContainer extends FixedHostPortGenericContainer<EmulatorContainer> {
    public EmulatorContainer(Path seed) {
        super("hubward-emulator:0.1.0");
        withFixedExposedPort(8883, 8883);
        withFixedExposedPort(443, 443);
        withCopyFileToContainer(MountableFile.forHostPath(seed), "/seed.json");
        withEnv("HUBWARD_SEED", "/seed.json");
        waitingFor(Wait.forLogMessage(".*\"type\":\"ready\".*", 1));
    }

    /** Writes the certificate authority of the emulator to a file, for example for a trust store. */
    public void copyAuthority(Path file) {
        copyFileFromContainer("/data/ca.pem", file.toString());
    }
}
