"""The application as the server calls it: health checks, pages, sockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# First, because it loads the models that the modules below import.
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from config.requests import answerable  # noqa: E402
from realtime.connections import Connections  # noqa: E402
from realtime.consumers import EchoConsumer, NotFoundConsumer  # noqa: E402
from realtime.database import DatabaseThreads  # noqa: E402
from realtime.health import Health  # noqa: E402
from realtime.origin import SameOrigin  # noqa: E402
from realtime.proxy import Proxy  # noqa: E402
from realtime.request_id import RequestId  # noqa: E402
from realtime.seats import PerUser  # noqa: E402
from realtime.tickets import Tickets  # noqa: E402
from rooms import routes as rooms  # noqa: E402

sockets = PerUser(
    URLRouter(
        [
            path("ws/echo/", EchoConsumer.as_asgi()),
            *rooms.sockets,
            re_path("", NotFoundConsumer.as_asgi()),
        ]
    )
)
by_cookie = SameOrigin(AuthMiddlewareStack(sockets))
protocols = ProtocolTypeRouter(
    {
        "http": answerable(pages),
        "websocket": DatabaseThreads(Tickets(sockets, others=by_cookie)),
    }
)
connections = Connections(protocols)
application = Proxy(Health(RequestId(connections), connections))
