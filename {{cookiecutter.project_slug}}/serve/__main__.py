"""Start the ASGI server."""

from config import contract
from serve import server
from serve.start import start

start("serve", server.NAME, lambda: [*server.command(), *contract.SERVER_ARGS])
