"""One file per request that a broker answers. Each is a function of the broker and the request's fields; an error that the
protocol knows is a BrokerError. Clients reach them only through `client/link.py`."""
