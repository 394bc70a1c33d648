"""Messages of Xray-core's gRPC API, generated from `xray.proto`."""
