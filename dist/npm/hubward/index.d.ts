/** Options of `startEmulator`. */
export interface EmulatorOptions {
  /**
   * `standard` (the default) uses the ports to which Microsoft's SDKs connect: 8883 and 443. If another emulator uses
   * them, this emulator uses another loopback address (127.0.0.2 and so on). `free` lets the system choose the ports.
   * Microsoft's SDKs cannot use such ports; hubward's clients can.
   */
  ports?: 'standard' | 'free';
  /**
   * Whether Microsoft's SDKs must reach port 443 (HTTPS and MQTT over WebSocket). On Linux, this port often needs root.
   * By default, the emulator uses the port if it is allowed to and the port is free; see `Emulator.webSockets`.
   */
  webSockets?: boolean;
  /**
   * Makes this process, and the programs that it starts, trust the emulator until `stop` (default true). A connection
   * with its own option `ca` does not change. Worker threads do not change.
   */
  trust?: boolean;
  /** Enrollments, groups and devices to start with: the path of a JSON file, or the content of one. */
  seed?: string | Record<string, unknown>;
  /** A folder that keeps the state and the CA after the end. By default, the state is in memory. */
  dataDir?: string;
  /** Adds an enrollment group whose key is published (default false). */
  devKeys?: boolean;
  /** Seconds that DPS tells a device to wait (default 0). The service says 3. */
  retryAfterSeconds?: number;
  /** Further options of `hubward emulator`. */
  args?: readonly string[];
  /** Milliseconds that the emulator has until it is ready (default 30,000). */
  startTimeoutMs?: number;
  /** Path of the program. By default, HUBWARD_BINARY or the program of the package for this platform. */
  binary?: string;
}

/** Limits of `telemetry`. */
export interface TelemetryOptions {
  /** Stops after this number of messages. Without it, never stops. */
  count?: number;
  /** Milliseconds to wait for each message (default 30,000). Then throws `TelemetryTimeoutError`. */
  timeoutMs?: number;
}

/** A message from a device or module. */
export interface TelemetryMessage {
  deviceId: string;
  moduleId?: string;
  body: Buffer;
  /** The application properties. */
  properties: Record<string, string>;
  /** The system properties of the sender (such as `$.ct`) and of the hub (such as `iothub-connection-device-id`). */
  systemProperties: Record<string, string>;
  /** The time at which the hub received the message (ISO 8601, UTC). */
  enqueuedTime: string;
  /** The position in the log of the hub. */
  offset: number;
}

/** An entry of the emulator's journal. */
export interface EmulatorEvent {
  seq: number;
  time: string;
  kind: string;
  message: string;
  source?: string;
  id?: string;
  hub?: string;
  code?: number;
}

/** A device that can register at DPS, seen from the cloud. */
export interface Device {
  /** The id at DPS. It is also the id at the hub. */
  readonly registrationId: string;
  /** The primary symmetric key, in base64. */
  readonly key: string;
  /** The host name of DPS. */
  readonly host: string;
  readonly idScope: string;
  /** The variables for a program that is this device: those of Microsoft's samples, and those for TLS. */
  readonly environment: Record<string, string>;
  /** The connection string for the hub. Creates the device at the hub if it has not registered yet. */
  connectionString(): Promise<string>;
  /** Yields the messages of this device that the hub has received and receives, the oldest first. */
  telemetry(options?: TelemetryOptions): AsyncGenerator<TelemetryMessage, void, undefined>;
  /** The messages of this device so far. Does not wait for messages. */
  received(): Promise<TelemetryMessage[]>;
  /** The twin in the JSON of the service. */
  twin(): Promise<any>;
  /** Merges these desired properties and tags into the twin. `null` as a value removes a property. */
  updateTwin(patch: { desired?: Record<string, unknown>; tags?: Record<string, unknown> }): Promise<any>;
  /**
   * Calls a direct method. The device has `timeoutSeconds` to answer (5 to 300, default 30). Throws `EmulatorError`
   * with status 404 if the device is not connected, and with status 504 if it does not answer in time.
   */
  invokeMethod(
    name: string, payload?: unknown, options?: { timeoutSeconds?: number },
  ): Promise<{ status: number; payload: any }>;
  /** Sends a cloud-to-device message. */
  sendMessage(body: string | Uint8Array, properties?: Record<string, string>): Promise<void>;
  /** Closes the connection of the device. The SDK may connect again at once. */
  disconnect(): Promise<void>;
  /** Deletes the enrollment, the registration and the device at the hub. */
  remove(): Promise<void>;
}

/** A running local DPS and IoT Hub. It ends with this process, even if this process is killed. */
export interface Emulator {
  /** The host name of DPS and of the hub, for example `localhost` or `127.0.0.2`. */
  readonly host: string;
  /** The host name of the hub. */
  readonly hub: string;
  readonly idScope: string;
  /** The port of MQTT over TLS. */
  readonly mqttPort: number;
  /** The port of HTTPS and of MQTT over WebSocket. */
  readonly httpsPort: number;
  /** Whether Microsoft's SDKs reach port 443, for HTTPS and MQTT over WebSocket. */
  readonly webSockets: boolean;
  /** The URL of the admin API and of the portal. */
  readonly adminUrl: string;
  /** The certificate of the emulator's CA, as PEM. */
  readonly caFile: string;
  /** The variables with which another Node program trusts the emulator. */
  readonly environment: Record<string, string>;
  /** The connection string of the hub's policy `iothubowner`. */
  readonly hubLogin: string;
  /** The connection string of DPS's policy `provisioningserviceowner`. */
  readonly dpsLogin: string;
  /**
   * Creates an individual enrollment with a symmetric key, and generates the key if none is given. Updates an existing
   * enrollment, which keeps its key if none is given.
   */
  enroll(registrationId: string, key?: string): Promise<Device>;
  /** Yields the messages that the hub has received and receives, the oldest first. */
  telemetry(options?: TelemetryOptions & { deviceId?: string }): AsyncGenerator<TelemetryMessage, void, undefined>;
  /** The messages that the hub has received so far. Does not wait for messages. */
  received(deviceId?: string): Promise<TelemetryMessage[]>;
  /** The journal from the event number `first` on (default 0): registrations, connections, refusals, reasons. */
  events(first?: number): Promise<EmulatorEvent[]>;
  /** Deletes all devices and enrollments, and applies the seed again. */
  reset(): Promise<void>;
  /** Sends a request to the admin API, for example for a fault. Throws `EmulatorError` if it is refused. */
  admin(method: string, path: string, body?: unknown, options?: { timeoutMs?: number }): Promise<any>;
  /** Ends the emulator, waits for its end, and ends the trust. A second call has no effect. */
  stop(): Promise<void>;
}

/** The emulator did not start, has ended, or refused a request. The message has the end of its stderr. */
export class EmulatorError extends Error {
  /** The HTTP status, if the admin port has refused a request. */
  readonly status?: number;
}

/** No further message arrived in time. */
export class TelemetryTimeoutError extends EmulatorError {}

/** Starts the emulator, and waits until it is ready. A running emulator does not keep the process alive. */
export function startEmulator(options?: EmulatorOptions): Promise<Emulator>;

/** The path of the program hubward. Throws `EmulatorError` if there is none for this platform. */
export function binaryPath(): string;
