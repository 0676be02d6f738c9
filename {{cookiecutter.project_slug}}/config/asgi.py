"""The application as the server calls it: health checks, pages, sockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# First, because it loads the models that the modules below import.
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from config.requests import answerable
from realtime.connections import Connections
from realtime.consumers import EchoConsumer, NotFoundConsumer
from realtime.database import DatabaseThreads
from realtime.health import Health
from realtime.origin import SameOrigin
from realtime.proxy import Proxy
from realtime.request_id import RequestId
from realtime.seats import PerUser
from realtime.tickets import Tickets
from rooms import routes as rooms

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
