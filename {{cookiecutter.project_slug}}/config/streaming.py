"""Server-sent events without buffering."""

from asgiref.sync import iscoroutinefunction
from django.http import HttpResponse
from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def unbuffered_events(get_response):
    """Django middleware that makes nginx pass on each event at once, instead of full buffers.

    https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
    """

    def mark(response: HttpResponse) -> HttpResponse:
        if response.get("Content-Type", "").startswith("text/event-stream"):
            response["X-Accel-Buffering"] = "no"
        return response

    async def unbuffered_async(request):
        return mark(await get_response(request))

    def unbuffered(request):
        return mark(get_response(request))

    return unbuffered_async if iscoroutinefunction(get_response) else unbuffered
