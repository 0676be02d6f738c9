"""The server's start and stop, which neither Django nor Channels answers.

https://github.com/django/channels/issues/2018
"""


async def lifespan(scope, receive, send) -> None:
    """Agree to both, so that no server logs an error. https://asgi.readthedocs.io/en/stable/specs/lifespan.html"""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
