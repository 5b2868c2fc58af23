// telemetry
