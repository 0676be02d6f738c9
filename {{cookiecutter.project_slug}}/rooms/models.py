"""The messages of rooms."""

from uuid import uuid4

from django.conf import settings
from django.db import models


class Message(models.Model):
    """A message in a room."""

    room = models.SlugField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.TextField(max_length=2000)
    sent_at = models.DateTimeField(auto_now_add=True)
    # Chosen by the author's browser: a message that is sent again is stored once.
    key = models.UUIDField(default=uuid4, editable=False)

    class Meta:
        indexes = [models.Index(fields=["room", "id"])]
        constraints = [
            models.UniqueConstraint(fields=["author", "key"], name="rooms_message_sent_once")
        ]

    def __str__(self) -> str:
        return f"{self.author} in {self.room}: {self.text[:50]}"
