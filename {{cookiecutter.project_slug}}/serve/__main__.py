"""Start the ASGI server."""

from serve import server
from serve.start import start

start("serve", server.NAME, server.TESTED_VERSIONS, server.command)
