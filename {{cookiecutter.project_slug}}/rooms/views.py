"""The pages of rooms."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _

from realtime.streams import stream_position
from rooms.models import Message

HISTORY = 50  # messages that a page shows


def home(request: HttpRequest) -> HttpResponse:
    """Show the echo and the form for a room; `?room=name` redirects to that room."""
    room = request.GET.get("room")
    if room is None:
        return render(request, "rooms/home.html")
    try:
        return redirect("room", room)
    except NoReverseMatch:
        raise Http404(_("A room's name has 1 to 50 letters, digits, - and _.")) from None


@login_required
def room(request: HttpRequest, room: str) -> HttpResponse:
    """Show a room with its last messages."""
    # Before the query: messages that are stored meanwhile reach the page's socket.
    position = stream_position(f"room.{room}")
    latest = Message.objects.filter(room=room).select_related("author").order_by("-id")[:HISTORY]
    context = {"room": room, "position": position, "messages": reversed(latest)}
    return render(request, "rooms/room.html", context)
