"""One module for each kind of service; `main(service)` is the service."""
