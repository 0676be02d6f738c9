"""The ASGI application. Middleware is listed from the outermost to the innermost."""

import os
from functools import partial

from asgiref.typing import ASGI3Application
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Before the imports below, which import models and so need the app registry (django.setup()).
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter

from config import env
from config.handlers import tolerate_bad_query
from config.readiness import READINESS_CHECKS
from config.recycling import may_recycle
from config.routing import websocket_router
from realtime.database import DatabaseThreads
from realtime.managed_socket import ManagedSocketMiddleware
from realtime.origin import OriginMiddleware
from realtime.quotas import ConnectionQuotaMiddleware
from realtime.tickets import TicketMiddleware
from serve.forwarded import ForwardedHeadersMiddleware
from serve.health import HealthMiddleware
from serve.limits import ConnectionLimitMiddleware
from serve.middleware import wrap
from serve.recycling import RecyclingMiddleware
from serve.request_id import RequestIdMiddleware
from serve.shutdown import GracefulShutdownMiddleware

sockets: ASGI3Application = wrap(
    # Outermost, so that its limits and reconnect requests cover everything that a WebSocket sends.
    ManagedSocketMiddleware,
    # Outside authentication, which makes the first database query: it reads the session.
    DatabaseThreads,
    # With a ticket, authenticate by the ticket. Without one, check the Origin header, then
    # authenticate by the session cookie.
    partial(
        TicketMiddleware,
        fallback=[OriginMiddleware, AuthMiddlewareStack],  # type: ignore[list-item]
    ),
    # Inside authentication: it counts the connections of scope["user"].
    ConnectionQuotaMiddleware,
    app=websocket_router,
)

application: ASGI3Application = wrap(
    # Outermost: it sets the client's address, the scheme and the root path in the scope.
    partial(
        ForwardedHeadersMiddleware,
        trusted_proxies=env.TRUSTED_PROXIES,
        root_path=env.ROOT_PATH,
    ),
    # Before anything is logged.
    RequestIdMiddleware,
    # Outside the health checks: /readyz reads the drain state that this adds to the scope.
    partial(
        GracefulShutdownMiddleware,
        drain_seconds=env.DRAIN_SECONDS,
        control_dir=env.CONTROL_DIR,
    ),
    # Outside the connection limit, so that a process at its limit still answers /livez. Outside
    # Django, which would validate the Host header.
    partial(HealthMiddleware, checks=READINESS_CHECKS, root_path=env.ROOT_PATH),
    partial(ConnectionLimitMiddleware, max_connections=env.MAX_CONNECTIONS),
    # Inside the connection limit: refused requests do not count towards MAX_REQUESTS.
    partial(RecyclingMiddleware, max_requests=env.MAX_REQUESTS, may_recycle=may_recycle),
    app=ProtocolTypeRouter({"http": tolerate_bad_query(pages), "websocket": sockets}),
)
