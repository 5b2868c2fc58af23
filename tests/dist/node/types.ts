// Compiled, but not run: the types of the package `hubward` for a TypeScript project.
import { EmulatorError, startEmulator, type Device, type TelemetryMessage } from 'hubward';

export async function program(): Promise<string[]> {
  const emulator = await startEmulator({ ports: 'standard', seed: { enrollments: [] }, startTimeoutMs: 10_000 });
  const device: Device = await emulator.enroll('dev-1');
  const texts: string[] = [];
  try {
    for await (const message of device.telemetry({ count: 1, timeoutMs: 1000 })) texts.push(text(message));
    const { status }: { status: number } = await device.invokeMethod('reboot', { delay: 3 }, { timeoutSeconds: 10 });
    texts.push(status.toFixed(), device.key, emulator.environment['NODE_EXTRA_CA_CERTS'] ?? '');
  } catch (error) {
    if (error instanceof EmulatorError && error.status === 404) texts.push(error.message);
  } finally {
    await emulator.stop();
  }
  // @ts-expect-error: there is no such choice of ports.
  await startEmulator({ ports: 'some' });
  return texts;
}

function text(message: TelemetryMessage): string {
  return message.body.toString('utf8');
}
