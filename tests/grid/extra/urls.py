"""The project's pages, and views that are slow, streamed or publish."""

import asyncio
import json
import logging
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

logger = logging.getLogger(__name__)

PROCESS = uuid4().hex  # process ids are reused, by the first process after a restart


async def slow(request, seconds: int) -> HttpResponse:
    """Log that the request has begun, and answer after `seconds`."""
    logger.info("slow request %s begun", request.GET.get("mark"))
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

    # Over WSGI, Django consumes an async generator completely before it sends anything.
    content = three_by_thread() if "wsgi.version" in request.META else three()
    return StreamingHttpResponse(content, content_type="text/event-stream")


@csrf_exempt
async def who(request) -> JsonResponse:
    """Return the process that answers, and the request's body."""
    me = {"replica": socket.gethostname(), "process": PROCESS, "pid": os.getpid()}
    return JsonResponse(me | {"body": request.body.decode()})


@csrf_exempt
async def publish(request, stream: str) -> JsonResponse:
    """Publish the body, once for each number, and return its stream position."""
    data = json.loads(request.body)
    name = f"load.{stream}"
    position = await streams.apublish(name, data, key=f"{name}.{data['number']}")
    return JsonResponse(position._asdict())


@csrf_exempt
def publish_sync(request, stream: str) -> HttpResponse:
    """Publish the body from a synchronous view."""
    streams.publish(f"load.{stream}", request.body.decode())
    return HttpResponse("published")


urlpatterns = [
    path("extra/slow/<int:seconds>/", slow),
    path("extra/events/", events),
    path("extra/who/", who),
    path("extra/publish/<slug:stream>/", publish),
    path("extra/publish-sync/<slug:stream>/", publish_sync),
    *project,
]
