"""Groups of Channels in Redis."""

import asyncio

import pytest

from config.channel_layer import ChannelLayer
from tests.websockets import PATIENCE


async def test_prefix(redis_url, tmp_path):
    """Projects with different prefixes share a Redis without receiving each other's messages."""
    ours, theirs = (ChannelLayer(redis_url, f"{name}-{tmp_path}") for name in ("ours", "theirs"))
    channels = [await layer.new_channel() for layer in (ours, theirs)]
    for layer, channel in zip((ours, theirs), channels, strict=True):
        await layer.group_add("chat", channel)
    await ours.group_send("chat", {"type": "chat.message"})
    async with asyncio.timeout(PATIENCE):
        assert await ours.receive(channels[0]) == {"type": "chat.message"}
    await theirs.group_send("chat", {"type": "chat.reply"})  # arrives after what would be wrong
    async with asyncio.timeout(PATIENCE):
        assert await theirs.receive(channels[1]) == {"type": "chat.reply"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ours.receive(channels[0])
    for layer in (ours, theirs):
        await layer.flush()
