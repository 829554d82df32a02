"""One module for each kind of service; `main(service, config)` is the service."""
