"""The project's pages, and some that are slow, or streamed, or tell who answers."""

import asyncio
import json
import os
import socket
import time
from uuid import uuid4

from config.urls import handler400, handler403, handler404, handler500  # noqa: F401
from config.urls import urlpatterns as project
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from realtime import streams

PROCESS = uuid4().hex  # a number may be given again, to the first process after a restart


async def slow(request, seconds: int) -> HttpResponse:
    """Answer after so many seconds."""
    await asyncio.sleep(seconds)
    return HttpResponse("done")


async def events(request) -> StreamingHttpResponse:
    """Send three events, a second apart. https://html.spec.whatwg.org/multipage/server-sent-events.html"""

    async def three():
        for number in range(3):
            yield f"data: {number}\n\n"
            await asyncio.sleep(1)

    def three_by_thread():
        for number in range(3):
            yield f"data: {number}\n\n"
            time.sleep(1)

    # Over WSGI, Django would collect what an async generator yields before it sends it.
    content = three_by_thread() if "wsgi.version" in request.META else three()
    return StreamingHttpResponse(content, content_type="text/event-stream")


@csrf_exempt
async def who(request) -> JsonResponse:
    """Tell which process answers, and what it was sent."""
    me = {"replica": socket.gethostname(), "process": PROCESS, "pid": os.getpid()}
    return JsonResponse(me | {"body": request.body.decode()})


@csrf_exempt
async def publish(request, stream: str) -> JsonResponse:
    """Publish what it is sent, once for each number, and tell where it stands."""
    data = json.loads(request.body)
    name = f"crowd.{stream}"
    position = await streams.apublish(name, data, key=f"{name}.{data['number']}")
    return JsonResponse(position._asdict())


@csrf_exempt
def say(request, stream: str) -> HttpResponse:
    """Publish what it is sent, from a view that is not async."""
    streams.publish(f"crowd.{stream}", request.body.decode())
    return HttpResponse("said")


urlpatterns = [
    path("extra/slow/<int:seconds>/", slow),
    path("extra/events/", events),
    path("extra/who/", who),
    path("extra/publish/<slug:stream>/", publish),
    path("extra/say/<slug:stream>/", say),
    *project,
]
