"""One warm engine for everybody on this machine: `serve` is the server, `client` what programs talk to it with."""
