"""Messages in the admin."""

from django.contrib import admin

from rooms.models import Message


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    """Newest first, searchable."""

    list_display = ["sent_at", "room", "author", "text"]
    list_filter = ["room"]
    search_fields = ["text", "author__username"]
    ordering = ["-id"]
