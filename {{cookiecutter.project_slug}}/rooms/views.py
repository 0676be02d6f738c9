"""The pages around the sockets."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch

from realtime.streams import position
from rooms.models import Message

HISTORY = 50  # messages shown on entering


def home(request: HttpRequest) -> HttpResponse:
    """Show the echo and the way into a room; `?room=name` goes there."""
    room = request.GET.get("room")
    if room is None:
        return render(request, "rooms/home.html")
    try:
        return redirect("room", room)
    except NoReverseMatch:
        raise Http404("A room's name has letters, digits, - and _ only, 50 at most.") from None


@login_required
def room(request: HttpRequest, room: str) -> HttpResponse:
    """Show a room with what was said last."""
    here = position(f"room.{room}")  # before the messages: what comes in between is sent, too
    latest = Message.objects.filter(room=room).select_related("author").order_by("-id")[:HISTORY]
    context = {"room": room, "position": here, "messages": reversed(latest)}
    return render(request, "rooms/room.html", context)
